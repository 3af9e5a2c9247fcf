"""Reads the code blocks of a page of the documentation, for tests that run them."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.test_pipeline import Repository


class Block(NamedTuple):
    """A fenced block of a Markdown page."""

    section: str  # the heading above it, without its hashes
    title: str  # the line of text above it
    language: str
    text: str


def follow(page: Path, section: str, repository: "Repository", *changes: tuple[str, str]) -> None:
    """Runs the shell blocks of a section, and writes the others where the lines above them say.

    Each change is an old and a new text.
    """
    for block in (block for block in read_blocks(page) if block.section == section):
        content = block.text
        for old, new in changes:
            content = content.replace(old, new)
        if block.language == "sh":
            repository.run("sh", "-euc", content)
            continue
        place = re.fullmatch(r"`([^`]+)`(, at the end|, before `(.+)`)?", block.title)
        assert place, block.title
        path, how, key = repository.folder / place[1], place[2], place[3]
        assert path.exists() == bool(how)
        text = path.read_text(encoding="utf-8") if how else ""
        at = len(text)
        if key:
            (found,) = re.finditer(rf"^{key}\n", text, re.MULTILINE)
            at = found.start()
        path.write_text(text[:at] + content + text[at:], encoding="utf-8")


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
