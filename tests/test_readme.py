"""The README and the pages of docs/ match the project."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pages import read_blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def test_the_table_of_stages_lists_the_files_of_stages() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    files = [path.stem for path in ROOT.glob("stages/[!_]*.py")]
    assert sorted(listed) == sorted(files)


def test_linked_files_and_sections_exist() -> None:
    broken = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
        for link in links:
            path, _, section = link.partition("#")
            target = page.parent / path if path else page
            headings = (
                re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE) if section else []
            )
            anchors = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}
            if not target.exists() or (section and section not in anchors):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert len(PAGES) > 10
    assert broken == []


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in PAGES:
        code = re.findall(r"`[^`\n]+`|^    .+$", page.read_text(encoding="utf-8"), re.MULTILINE)
        named = set(re.findall(r"(?<![\w-])make ([a-z][a-z-]*)", "\n".join(code)))
        if page.name != "CHANGELOG.md":
            assert named <= targets, page


def test_the_snippets_of_the_config_page_print_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "snippet"}
    for block in read_blocks(ROOT / "docs/config.md"):
        if block.language == "yaml":
            Path(block.title.strip("`")).write_text(block.text, encoding="utf-8")
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(block.text, names)
        assert printed.getvalue().splitlines() == re.findall(r"\)  # (.+)", block.text)
