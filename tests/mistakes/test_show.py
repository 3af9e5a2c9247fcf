"""Mistakes among letters whose predictions are known."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.drawing import Letter as Drawn
from letterpress.ascii_letter.drawing import write_tarball
from letterpress.ascii_letter.typefaces import Typeface, draw_letter, find_typefaces
from letterpress.core.errors import PipelineError
from letterpress.core.files import write_csv
from letterpress.evaluation.metrics import Prediction
from letterpress.jobs.shards import shard_paths
from letterpress.mistakes.show import (
    Letter,
    draw_sheet,
    show_mistakes,
)

TYPEFACES = {face.name: face for family in find_typefaces() for face in family}
MANROPE = TYPEFACES["Manrope-Bold"]  # its capital I is its small l
SERIF = TYPEFACES["DejaVuSerif-Bold"]
SIZE, SHAPE = 28, (32, 32)
CONFIG = AsciiLetterConfig(letter_size=SIZE)


def draw(letter: str, face: Typeface, place: tuple[int, int] | None = None) -> Image.Image:
    return draw_letter(letter, face, SIZE, SHAPE, place)


Known = tuple[str, Typeface, str, float]
TEST: list[Known] = [
    ("a", SERIF, "a", 0.5),
    ("A", SERIF, "h", 0.934),
    ("b", MANROPE, "b", 0.5),
    ("l", MANROPE, "i", 0.51),
    ("I", MANROPE, "i", 0.5),
    ("c", MANROPE, "", 0),  # of the training split: without a prediction
]
UNSEEN: list[Known] = [("I", MANROPE, "l", 0.4), ("Q", SERIF, "q", 0.5), ("x", SERIF, "x", 0.5)]


def write_inputs(folder: Path, letters: Sequence[Known], n_shards: int, suffix: str = "") -> None:
    """Writes letters to tarballs in a folder, and their predictions to a table beside it."""
    drawn, rows = [], []
    for i, (letter, face, predicted, probability) in enumerate(letters):
        draw(letter, face).save(png := io.BytesIO(), "PNG")
        name, case = f"{letter.lower()}/{i}.png", "capital" if letter.isupper() else "small"
        drawn.append(Drawn(name, png.getvalue(), face.name, face.family, face.style, case))
        if predicted:
            rows.append(Prediction(name, letter.lower(), predicted, probability))
    folder.mkdir(parents=True, exist_ok=True)
    for index, tarball in enumerate(shard_paths(folder, ".tar", n_shards)):
        write_tarball(tarball, drawn[index::n_shards])
    write_csv(folder.parent / f"predictions{suffix}.csv", Prediction._fields, rows)


def show(folder: Path, n_shards: int = 1) -> dict[str, bytes]:
    """Runs `show_mistakes` on the inputs in a folder; returns the files it wrote."""
    results = folder / "mistakes"
    show_mistakes(CONFIG.replace(n_shards=n_shards), folder, folder, results)
    return {path.name: path.read_bytes() for path in results.iterdir()}


@pytest.fixture
def shown(tmp_path: Path) -> dict[str, bytes]:
    write_inputs(tmp_path / "letters", TEST, 1)
    write_inputs(tmp_path / "unseen", UNSEEN, 1, "_unseen")
    return show(tmp_path)


def test_tables_count_every_prediction(shown: dict[str, bytes]) -> None:
    assert shown["accuracy_by_family.csv"].decode().splitlines() == [
        "family,n_letters,accuracy",
        "DejaVu Serif (test),2,0.5",
        "Manrope (test),3,0.6667",
        "DejaVu Serif (unseen),2,1.0",
        "Manrope (unseen),1,0.0",
    ]
    cases = "case,n_letters,accuracy capital (test),2,0.5 small (test),3,0.6667"
    cases += " capital (unseen),2,0.5 small (unseen),1,1.0"
    assert shown["accuracy_by_case.csv"].decode().replace("\n", " ").strip() == cases


def test_a_second_run_and_shards_give_the_same_bytes(
    shown: dict[str, bytes], tmp_path: Path
) -> None:
    assert show(tmp_path) == shown
    write_inputs(tmp_path / "letters", TEST, 3)
    write_inputs(tmp_path / "unseen", UNSEEN, 3, "_unseen")
    assert show(tmp_path, n_shards=3) == shown


def test_the_sheet_shows_the_mistakes_with_classes_probability_and_typeface(
    shown: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda _, xy, text, **__: texts.append(text))
    letters = [
        Letter(draw(name, SERIF), name, "z", i / 100, SERIF.name, SERIF.family, "small")
        for i, name in enumerate("abcdefghijkl")  # more than a row
    ]
    sheet = draw_sheet(letters)
    for i, letter in enumerate(letters):  # ten per row, 96x104 pixels each
        x, y = i % 10 * 96 + 16, i // 10 * 104 + 4
        enlarged = letter.image.resize((64, 64), Image.Resampling.NEAREST)
        assert sheet.crop((x, y, x + 64, y + 64)).tobytes() == enlarged.tobytes()
    assert texts[::2] == [f"{letter.actual} > z  {i}%" for i, letter in enumerate(letters)]
    assert texts[1::2] == ["DejaVuSerif-Bold"] * 12
    assert draw_sheet([]).getcolors() == [(960 * 104, 24)]
    # The sheet of the stage has the mistakes sorted by class.
    sheet, first = Image.open(io.BytesIO(shown["sheet.png"])), draw("A", SERIF)
    enlarged = first.resize((64, 64), Image.Resampling.NEAREST)
    assert sheet.size == (960, 104)
    assert sheet.crop((16, 4, 80, 68)).tobytes() == enlarged.tobytes()


def test_inputs_that_do_not_belong_together_are_refused_and_older_results_stay(
    shown: dict[str, bytes], tmp_path: Path
) -> None:
    def refuse(message: str) -> None:
        with pytest.raises(PipelineError, match=message):
            show(tmp_path)
        found = {path.name: path.read_bytes() for path in (tmp_path / "mistakes").iterdir()}
        assert found == shown

    table, (tarball,) = tmp_path / "predictions.csv", shard_paths(tmp_path / "letters", ".tar", 1)
    older = table.read_text()
    table.write_text(older + "z/77.png,z,z,0.5\n")
    refuse(r"predictions\.csv: z/77\.png is not in .*letters")
    table.write_text(older)
    png = io.BytesIO()
    draw("a", SERIF).save(png, "PNG")
    nameless: Any = ("", SERIF.family, SERIF.style, "small")
    write_tarball(tarball, [Drawn("a/0.png", png.getvalue(), *nameless)])
    refuse(r"letters-.*\.tar: no typeface, family and case of a/0\.png")
    tarball.write_bytes(b"not a tarball")
    refuse(f"{tarball}: ")
