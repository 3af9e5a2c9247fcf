"""The cards and the README say what the metric files say."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from stages.ascii_letter.glyphs import find_typefaces
from tests.conftest import ROOT
from tools.cards import PAGES, figures, rewrite


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_figures_of_today(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert rewrite(text, figures(ROOT)) == text, "run `make cards`"


def test_each_figure_is_on_a_page() -> None:
    texts = [(ROOT / page).read_text(encoding="utf-8") for page in PAGES]
    shown = {name for text in texts for name in re.findall(r"<!-- ([\w-]+) -->", text)}
    assert shown == set(figures(ROOT))


def test_what_stands_between_the_markers_is_written_anew() -> None:
    known = {"one": lambda: "1", "table": lambda: "a\nb"}
    text = "An <!-- one -->old<!-- /one --> one,\n<!-- table -->\n\nold\n\n<!-- /table -->\n<!-- one --><!-- /one -->"
    new = "An <!-- one -->1<!-- /one --> one,\n<!-- table -->\n\na\nb\n\n<!-- /table -->\n<!-- one -->1<!-- /one -->"
    assert rewrite(text, known) == new
    assert rewrite(new, known) == new


def test_a_figure_that_is_not_known_is_an_error() -> None:
    with pytest.raises(KeyError, match="other"):
        rewrite("<!-- other --><!-- /other -->", figures(ROOT))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with results of letters: 3 of 5 right."""
    folder = tmp_path / "data/ascii_letter"
    folder.mkdir(parents=True)
    names = ["accuracy", "accuracy_low", "accuracy_high", "loss"]
    names += [name.replace("_", "_unseen_") if "_" in name else f"{name}_unseen" for name in names]
    metrics = dict(zip(names, (0.6, 0.2307, 0.88238, 1.5, 0.5, 0.25, 0.75, 2.0), strict=True))
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    for split in ("", "_unseen"):
        path = folder / f"predictions{split}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(("actual", "predicted"))
            table.writerows(("aa", "il", "li", "li", "bb"))
    return tmp_path


def test_results_are_in_percent_with_their_interval_and_number(results: Path) -> None:
    lines = figures(results)["letters-results"]().splitlines()
    assert len(lines) == 4
    assert lines[2].endswith("| 5 | 60.00 % | 23.07 % to 88.24 % | 1.5000 |")
    assert lines[3] == "| unseen typefaces | 5 | 50.00 % | 25.00 % to 75.00 % | 2.0000 |"


def test_mistakes_are_counted_the_most_frequent_first(results: Path) -> None:
    assert figures(results)["letters-mistakes"]().splitlines()[2:] == [
        "| l | i | 2 |",
        "| i | l | 1 |",
        "| all others |  | 0 |",
    ]
    assert figures(results)["i-or-l"]() == "6 of the 6"


def test_the_data_card_names_every_family_with_its_style_and_package() -> None:
    card = (ROOT / "docs/cards/data.md").read_text(encoding="utf-8")
    rows = {
        tuple(row) for row in re.findall(r"^\| ([\w ]+) \| ([\w-]+) \| .+ \|", card, re.MULTILINE)
    }
    families = {(faces[0].family, faces[0].style) for faces in find_typefaces()}
    assert families <= rows
    for faces in find_typefaces():
        package = (
            "matplotlib"
            if "matplotlib" in faces[0].path.parts
            else faces[0].path.parent.parent.name
        )
        assert re.search(
            rf"^\| {faces[0].family} \| .+ \| {package.replace('_', '-')}\b", card, re.MULTILINE
        )


@pytest.mark.parametrize(
    ("page", "link"),
    [
        (page, link)
        for page in sorted((ROOT / "docs").rglob("*.md"))
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    ],
)
def test_what_a_page_links_to_is_there(page: Path, link: str) -> None:
    assert (page.parent / link).exists()
