"""Shows the letters classifier's mistakes: a sheet, and accuracy by typeface and case."""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.typefaces import find_typefaces
from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing, write_csv
from letterpress.jobs.shards import shard_paths
from letterpress.records.tarball import read_manifest, read_tarball

_COLUMNS, _CELL, _MOST = 10, (96, 104), 100


class Letter(NamedTuple):
    """A letter with its prediction and its row of the manifest."""

    image: Image.Image
    actual: str
    predicted: str
    probability: float
    typeface: str
    family: str
    case: str


Splits = Mapping[str, Sequence[Letter]]


def read_letters(folder: Path, predictions: Path, config: AsciiLetterConfig) -> list[Letter]:
    """Joins predictions with the images and manifests of the tarballs in `folder`.

    Raises:
        PipelineError: a tarball cannot be read, or lacks a letter or its row of the manifest.
    """
    with predictions.open(encoding="utf-8", newline="") as file:
        rows = {row["filename"]: row for row in csv.DictReader(file)}
    letters = []
    for tarball in shard_paths(folder, ".tar", config.n_shards):
        manifest = read_manifest(tarball)
        for name, content in read_tarball(tarball, config):
            if name not in rows:
                continue
            row = rows.pop(name) | manifest.get(name, {})
            drawn = [row.get(column) or "" for column in ("typeface", "family", "case")]
            if not all(drawn):
                problem = f"{tarball}: no typeface, family and case of {name} in manifest.csv"
                raise PipelineError(f"{problem}. Delete the file and run `dvc repro`")
            image, probability = Image.open(io.BytesIO(content)), float(row["probability"])
            letters.append(Letter(image, row["actual"], row["predicted"], probability, *drawn))
    if rows:
        raise PipelineError(f"{predictions}: {next(iter(rows))} is not in {folder}. Evaluate again")
    return letters


def accuracy_by(field: str, splits: Splits) -> list[tuple[str, int, float]]:
    """Returns name, number of letters and accuracy (0..1) of each group, per split sorted by name."""
    rows = []
    for split, letters in splits.items():
        groups = defaultdict(list)
        for letter in letters:
            groups[getattr(letter, field)].append(letter.actual == letter.predicted)
        for name, correct in sorted(groups.items()):
            rows.append((f"{name} ({split})", len(correct), sum(correct) / len(correct)))
    return rows


def draw_sheet(letters: Sequence[Letter]) -> Image.Image:
    """Draws letters at 64x64 pixels with actual > predicted class, probability and typeface."""
    n_rows = max(1, -(-len(letters) // _COLUMNS))
    sheet = Image.new("L", (_COLUMNS * _CELL[0], n_rows * _CELL[1]), 24)
    draw = ImageDraw.Draw(sheet)
    plain = next(f for family in find_typefaces() for f in family if f.name == "DejaVuSans")
    font = ImageFont.truetype(io.BytesIO(plain.path.read_bytes()), 9)
    for index, letter in enumerate(letters):
        x, y = index % _COLUMNS * _CELL[0], index // _COLUMNS * _CELL[1]
        sheet.paste(letter.image.resize((64, 64), Image.Resampling.NEAREST), (x + 16, y + 4))
        caption = f"{letter.actual} > {letter.predicted}  {letter.probability:.0%}"
        draw.text((x + 4, y + 70), caption, fill=255, font=font)
        draw.text((x + 4, y + 81), letter.typeface[:17], fill=170, font=font)
    return sheet


def show_mistakes(config: AsciiLetterConfig, raw: Path, predictions: Path, results: Path) -> None:
    """Writes accuracy_by_family.csv, accuracy_by_case.csv and sheet.png to `results`."""
    splits = {
        "test": read_letters(raw / "letters", predictions / "predictions.csv", config),
        "unseen": read_letters(raw / "unseen", predictions / "predictions_unseen.csv", config),
    }
    letters = [*splits["test"], *splits["unseen"]]
    mistakes = [letter for letter in letters if letter.actual != letter.predicted]
    mistakes.sort(key=lambda letter: (letter.actual, letter.predicted, letter.typeface))
    sheet = draw_sheet(mistakes[:_MOST])
    for field in ("family", "case"):
        header = (field, "n_letters", "accuracy")
        write_csv(results / f"accuracy_by_{field}.csv", header, accuracy_by(field, splits))
    with replacing(results / "sheet.png") as path:
        sheet.save(path)
    print(f"{results}: {len(mistakes)} mistakes in {len(letters)} letters")
