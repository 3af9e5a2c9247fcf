"""Mistakes among letters whose predictions are known."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.drawing import Letter, write_tarball
from letterpress.core.errors import PipelineError
from letterpress.core.files import write_csv
from letterpress.evaluation.metrics import DESCRIPTION, Prediction
from letterpress.jobs.shards import shard_paths
from letterpress.mistakes.show import draw_sheet, read_manifests, show_mistakes
from letterpress.records.tarball import SETS

CONFIG = AsciiLetterConfig()
Known = tuple[str, str, str, float]  # character, family, predicted, probability
TEST: list[Known] = [
    ("a", "Lora", "a", 0.5),
    ("A", "Lora", "h", 0.934),
    ("b", "Kalam", "b", 0.5),
    ("l", "Kalam", "i", 0.51),
    ("I", "Kalam", "i", 0.5),
    ("c", "Kalam", "", 0),  # of the training split: without a prediction
]
UNSEEN: list[Known] = [("I", "Kalam", "l", 0.4), ("Q", "Lora", "q", 0.5), ("x", "Lora", "x", 0.5)]


def picture(character: str) -> Image.Image:
    image = Image.new("L", (32, 32))
    ImageDraw.Draw(image).text((10, 8), character, 255)
    return image


def write_inputs(raw: Path, name: str, letters: Sequence[Known], suffix: str) -> None:
    """Writes letters to a tarball, and their predictions to a table beside the folder."""
    drawn, rows = [], []
    for i, (letter, family, predicted, probability) in enumerate(letters):
        picture(letter).save(png := io.BytesIO(), "PNG")
        file = f"{letter.lower()}/{name}-{i}.png"
        described = family, "serif", f"{family}-400", "capital" if letter.isupper() else "small"
        face = described[2], family, *described[1::2]
        drawn.append(Letter(file, png.getvalue(), *face))
        if predicted:
            rows.append((*Prediction(file, letter.lower(), predicted, probability), *described))
    (raw / name).mkdir(parents=True)
    (tarball,) = shard_paths(raw / name, ".tar", 1)
    write_tarball(tarball, drawn, SETS[0])
    header = Prediction._fields + DESCRIPTION
    write_csv(raw.parent / f"predictions{suffix}.csv", header, rows)


@pytest.fixture
def shown(tmp_path: Path) -> dict[str, bytes]:
    for name, letters, suffix in (
        ("letters", TEST, ""),
        ("unseen", UNSEEN, "_unseen"),
        ("validation", [], "_validation"),
    ):
        write_inputs(tmp_path / "raw", name, letters, suffix)
    show_mistakes(CONFIG, tmp_path / "raw", tmp_path, tmp_path / "mistakes")
    return {path.name: path.read_bytes() for path in (tmp_path / "mistakes").iterdir()}


def test_tables_count_every_prediction(shown: dict[str, bytes]) -> None:
    assert shown["accuracy_by_family.csv"].decode().splitlines() == [
        "family,split,n_letters,accuracy",
        "Kalam,test,3,0.6667",
        "Lora,test,2,0.5",
        "Kalam,unseen,1,0.0",
        "Lora,unseen,2,1.0",
    ]
    cases = "case,split,n_letters,accuracy capital,test,2,0.5 small,test,3,0.6667"
    cases += " capital,unseen,2,0.5 small,unseen,1,1.0"
    assert shown["accuracy_by_case.csv"].decode().replace("\n", " ").strip() == cases
    styles = "style,split,n_letters,accuracy serif,test,5,0.6 serif,unseen,3,0.6667"
    assert shown["accuracy_by_style.csv"].decode().replace("\n", " ").strip() == styles


def test_the_sheet_shows_the_mistakes_with_classes_probability_and_typeface(
    shown: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda _, xy, text, **__: texts.append(text))
    names = "abcdefghijkl"  # more than a row
    images = {name: Image.new("L", (32, 32), 20 * i) for i, name in enumerate(names)}
    rows = [
        {
            "filename": n,
            "actual": n,
            "predicted": "z",
            "probability": f"0.{i:02}",
            "typeface": "Face",
        }
        for i, n in enumerate(names)
    ]
    sheet = draw_sheet(rows, images)
    for i, image in enumerate(images.values()):  # ten per row, 96x104 pixels each
        x, y = i % 10 * 96 + 16, i // 10 * 104 + 4
        enlarged = image.resize((64, 64), Image.Resampling.NEAREST)
        assert sheet.crop((x, y, x + 64, y + 64)).tobytes() == enlarged.tobytes()
    assert texts[::2] == [f"{name} > z  {i}%" for i, name in enumerate(names)]
    assert texts[1::2] == ["Face"] * 12
    assert draw_sheet([], {}).getcolors() == [(960 * 104, 24)]
    # The sheet of the stage has the mistakes sorted by class.
    sheet = Image.open(io.BytesIO(shown["sheet.png"]))
    assert sheet.size == (960, 104)


def test_a_manifest_without_a_description_is_refused(
    shown: dict[str, bytes], tmp_path: Path
) -> None:
    manifest = read_manifests(tmp_path / "raw", CONFIG)
    assert len(manifest) == len(TEST) + len(UNSEEN)
    assert manifest["q/unseen-1.png"]["typeface"] == "Lora-400"
    (tarball,) = shard_paths(tmp_path / "raw/letters", ".tar", 1)
    write_tarball(tarball, [Letter("a/0.png", b"", "", "Lora", "serif", "small")], "train")
    with pytest.raises(
        PipelineError, match=r"letters-.*\.tar: no typeface of a/0\.png in manifest"
    ):
        read_manifests(tmp_path / "raw", CONFIG)
    tarball.write_bytes(b"not a tarball")
    with pytest.raises(PipelineError, match=f"{tarball}: "):
        read_manifests(tmp_path / "raw", CONFIG)
