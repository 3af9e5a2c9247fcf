"""Shows the letters classifier's mistakes: a sheet, and accuracy by family, style and case."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing, write_csv
from letterpress.records.tarball import SETS, list_tarballs, read_manifest, read_tarball

_COLUMNS, _CELL, _MOST = 10, (96, 104), 100
_SPLITS = {"test": "", "unseen": "_unseen"}

Rows = Sequence[Mapping[str, str]]
"""Rows of predictions.csv, with the description of each letter."""


def read_manifests(raw: Path, config: AsciiLetterConfig) -> dict[str, dict[str, str]]:
    """Reads the manifests of all tar files in `raw`: a description of each image by file name.

    Raises:
        PipelineError: a tar file cannot be read, or has no manifest or no description of an image.
    """
    manifest: dict[str, dict[str, str]] = {}
    for tarball in (path for name in SETS for path in list_tarballs(raw / name, config)):
        rows = read_manifest(tarball)
        for name, row in rows.items():
            missing = [key for key in ("typeface", "family", "style", "case") if not row.get(key)]
            if missing:
                raise PipelineError(
                    f"{tarball}: no {missing[0]} of {name} in manifest.csv. "
                    "Delete the file and run `dvc repro`"
                )
        manifest |= rows
    return manifest


def accuracy_by(field: str, splits: Mapping[str, Rows]) -> list[tuple[str, str, int, float]]:
    """Returns name, split, number of letters and accuracy (0..1) of each group, sorted by name."""
    result = []
    for split, rows in splits.items():
        groups = defaultdict(list)
        for row in rows:
            groups[row[field]].append(row["actual"] == row["predicted"])
        for name, correct in sorted(groups.items()):
            result.append((name, split, len(correct), sum(correct) / len(correct)))
    return result


def draw_sheet(rows: Rows, images: Mapping[str, Image.Image]) -> Image.Image:
    """Draws letters at 64x64 pixels with actual > predicted class, probability and typeface."""
    n_rows = max(1, -(-len(rows) // _COLUMNS))  # rounded up
    sheet = Image.new("L", (_COLUMNS * _CELL[0], n_rows * _CELL[1]), 24)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(9)
    for index, row in enumerate(rows):
        x, y = index % _COLUMNS * _CELL[0], index // _COLUMNS * _CELL[1]
        # Nearest neighbour: the pixels that the classifier sees stay visible.
        image = images[row["filename"]].resize((64, 64), Image.Resampling.NEAREST)
        sheet.paste(image, (x + 16, y + 4))
        caption = f"{row['actual']} > {row['predicted']}  {float(row['probability']):.0%}"
        draw.text((x + 4, y + 70), caption, fill=255, font=font)
        draw.text((x + 4, y + 81), row["typeface"][:19], fill=170, font=font)
    return sheet


def show_mistakes(config: AsciiLetterConfig, raw: Path, predictions: Path, results: Path) -> None:
    """Writes accuracy_by_family.csv, ..._style.csv, ..._case.csv and sheet.png to `results`."""
    splits: dict[str, Rows] = {}
    for split, suffix in _SPLITS.items():
        with (predictions / f"predictions{suffix}.csv").open(encoding="utf-8", newline="") as file:
            splits[split] = [row for row in csv.DictReader(file) if row["actual"] != "none"]
    letters = [row for rows in splits.values() for row in rows]
    mistakes = [row for row in letters if row["actual"] != row["predicted"]]
    mistakes.sort(key=lambda row: (row["actual"], row["predicted"], row["typeface"]))
    shown = mistakes[:_MOST]
    sheet = draw_sheet(shown, _read_images(raw, config, {row["filename"] for row in shown}))
    for field in ("family", "style", "case"):
        header = (field, "split", "n_letters", "accuracy")
        write_csv(results / f"accuracy_by_{field}.csv", header, accuracy_by(field, splits))
    with replacing(results / "sheet.png") as path:
        sheet.save(path)
    print(f"{results}: {len(mistakes)} mistakes in {len(letters)} letters")


def _read_images(
    raw: Path, config: AsciiLetterConfig, names: Iterable[str]
) -> dict[str, Image.Image]:
    return {
        name: Image.open(io.BytesIO(content))
        for tar in SETS
        for path in list_tarballs(raw / tar, config)
        for name, content in read_tarball(path, config)
        if name in names
    }
