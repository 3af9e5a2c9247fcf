"""Stage evaluate, last part: accuracy by typeface family and case, a sheet of the mistakes, and the ceiling."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import find_typefaces
from stages.ascii_letter.tarball import read_manifest, read_tarball
from stages.mistakes.sharing import Library
from stages.mnist.errors import PipelineError, run
from stages.mnist.files import replacing, write_csv, write_json
from stages.mnist.shards import shard_paths

RAW = Path("data/ascii_letter/raw")
PREDICTIONS = Path("data/ascii_letter")
RESULTS = Path("data/mistakes")
_COLUMNS, _CELL, _CAPTION, _MOST = 10, (96, 104), 11, 100


class Judged(NamedTuple):
    """A letter, what was said of it, and what the manifest says."""

    image: Image.Image
    actual: str
    predicted: str
    probability: float
    typeface: str
    family: str
    case: str


def read_judged(folder: Path, predictions: Path, config: AsciiLetterConfig) -> list[Judged]:
    """Joins predictions with the images and the manifests of the tarballs that they are of.

    Raises:
        PipelineError: a tarball cannot be read, or they or their manifests lack a letter.
    """
    with predictions.open(encoding="utf-8", newline="") as file:
        rows = {row["filename"]: row for row in csv.DictReader(file)}
    judged = []
    for tarball in shard_paths(folder, ".tar", config.n_shards):
        manifest = read_manifest(tarball)
        for name, content in read_tarball(tarball, config):
            if name in rows:
                row, entry = rows.pop(name), manifest.get(name, {})
                if not all(entry.get(column) for column in ("typeface", "family", "case")):
                    raise PipelineError(
                        f"{tarball}: its manifest lacks {name}, or its typeface, family or case"
                    )
                judged.append(
                    Judged(
                        Image.open(io.BytesIO(content)),
                        row["actual"],
                        row["predicted"],
                        float(row["probability"]),
                        entry["typeface"],
                        entry["family"],
                        entry["case"],
                    )
                )
    if rows:
        raise PipelineError(f"{predictions}: {next(iter(rows))} is not in {folder}")
    return judged


def accuracy_by(judged: Sequence[Judged], field: str) -> list[tuple[str, int, float]]:
    """Returns name, number of letters and accuracy, 0..1, of each group, sorted by name."""
    groups = defaultdict(list)
    for letter in judged:
        groups[getattr(letter, field)].append(letter.actual == letter.predicted)
    return [(name, len(right), sum(right) / len(right)) for name, right in sorted(groups.items())]


def draw_sheet(letters: Sequence[Judged]) -> Image.Image:
    """Draws letters, twice their size, with actual > predicted class, probability and typeface."""
    n_rows = max(1, -(-len(letters) // _COLUMNS))
    sheet = Image.new("L", (_COLUMNS * _CELL[0], n_rows * _CELL[1]), 24)
    draw = ImageDraw.Draw(sheet)
    plain = next(f for fs in find_typefaces() for f in fs if f.name == "DejaVuSans")
    font = ImageFont.truetype(io.BytesIO(plain.path.read_bytes()), 9)
    for index, letter in enumerate(letters):
        x, y = index % _COLUMNS * _CELL[0], index // _COLUMNS * _CELL[1]
        image = letter.image.resize((64, 64), Image.Resampling.NEAREST)
        sheet.paste(image, (x + 16, y + 4))
        caption = f"{letter.actual} > {letter.predicted}  {letter.probability:.0%}"
        draw.text((x + 4, y + 70), caption, fill=255, font=font)
        draw.text((x + 4, y + 70 + _CAPTION), letter.typeface[:17], fill=170, font=font)
    return sheet


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    splits = {
        "": read_judged(RAW / "letters", PREDICTIONS / "predictions.csv", config),
        "_unseen": read_judged(RAW / "unseen", PREDICTIONS / "predictions_unseen.csv", config),
    }
    everything = [letter for judged in splits.values() for letter in judged]
    for field in ("family", "case"):
        rows = [
            (f"{name} ({split.strip('_') or 'test'})", n_letters, accuracy)
            for split, judged in splits.items()
            for name, n_letters, accuracy in accuracy_by(judged, field)
        ]
        write_csv(RESULTS / f"accuracy_by_{field}.csv", (field, "n_letters", "accuracy"), rows)
    mistakes = [letter for letter in everything if letter.actual != letter.predicted]
    mistakes.sort(key=lambda letter: (letter.actual, letter.predicted, letter.typeface))
    with replacing(RESULTS / "sheet.png") as path:
        draw_sheet(mistakes[:_MOST]).save(path)
    shape = config.image_height, config.image_width
    typefaces = [face for family in find_typefaces() for face in family]
    library = Library(config.class_names, typefaces, config.letter_size, shape)
    ceilings: dict[str, float] = {}
    for suffix, judged in splits.items():
        n_shared = sum(len(library.classes_like(letter.image)) > 1 for letter in judged)
        ceilings[f"shared{suffix}"] = n_shared
        # Half of these can be right; drawings that nearly agree (most of I and l) are not counted.
        ceilings[f"ceiling{suffix}"] = 1 - n_shared / 2 / len(judged)
    write_json(RESULTS / "ceiling.json", ceilings)
    print(f"{RESULTS}: {len(mistakes)} mistakes in {len(everything)} letters")


if __name__ == "__main__":
    run(main)
