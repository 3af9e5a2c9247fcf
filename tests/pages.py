"""Reads the code blocks of a page of the documentation, for tests that run them."""

import re
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced block of a Markdown page."""

    section: str  # the heading above it, without its hashes
    title: str  # the line of text above it
    language: str
    text: str


def read_blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a Markdown page in their order."""
    blocks = []
    section = title = ""
    parts = re.split(
        r"^```(\w*)\n(.*?)^```\n", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for prose, language, text in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        for line in filter(None, prose.splitlines()):
            title = line
            if line.startswith("#"):
                section = line.lstrip("# ")
        blocks.append(Block(section, title, language, text))
    return blocks
