"""Shows a data set before anything is trained on it: examples, counts and near-duplicates."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial.distance import cdist
from skimage.measure import block_reduce

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing, write_csv
from letterpress.records.read import load_batches, reading

N_EACH = 3
"""Examples of a class and split."""
NEAR = 0.04
"""The root mean square difference of two near-duplicates, at most; a pixel is 0..1."""
_BLOCK = 4  # pixels: blocks whose means are compared first
_MARGIN = 56  # pixels of the sheet, for the names of classes and splits


class Split(NamedTuple):
    """A split in memory, sorted by file name."""

    filenames: list[str]
    labels: npt.NDArray[np.int64]
    """0 .. n_outputs - 1 [n]"""
    images: npt.NDArray[np.uint8]
    """0..255 [n, height, width, channels]"""


def load_split(records: Path, config: ClassifierConfig) -> Split:
    """Loads a split.

    Raises:
        FileNotFoundError: the records are missing.
        PipelineError: the records are damaged or do not fit the config.
    """
    rows: list[tuple[bytes, int, npt.NDArray[np.uint8]]] = []
    with reading(records):
        for images, labels, names in load_batches(records, config).as_numpy_iterator():
            rows += zip(names, labels, np.round(images * 255).astype(np.uint8), strict=True)
    if not rows:
        raise PipelineError(
            f"{records}: no records. Give the split images in params.yaml, and run `dvc repro`"
        )
    rows.sort(key=lambda row: row[0])  # n_shards changes the order of the records
    filenames, labels, images = zip(*rows, strict=True)
    return Split([name.decode() for name in filenames], np.array(labels), np.stack(images))


def draw_examples(splits: Mapping[str, Split], config: ClassifierConfig) -> Image.Image:
    """Draws N_EACH images of each class in each split: a column per class, N_EACH rows per split.

    They are evenly spaced among those of the class, in the order of the file names.
    """
    height, width = config.image_height + 2, config.image_width + 2
    names = config.output_names
    size = _MARGIN + width * len(names), _MARGIN + height * N_EACH * len(splits)
    sheet = Image.new("RGB", size, (24, 24, 24))
    # The font inside Pillow: the sheet does not depend on the fonts of the machine.
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for column, name in enumerate(names):
        draw.text((_MARGIN + (column + 0.5) * width, 20), name, (255,) * 3, font, anchor="mm")
    for block, (name, split) in enumerate(splits.items()):
        top = _MARGIN + block * N_EACH * height
        draw.text((2, top), name, (255,) * 3, font)
        for label in range(len(names)):
            of_class = np.flatnonzero(split.labels == label)
            steps = np.linspace(0, len(of_class), N_EACH, endpoint=False).astype(int)
            for row, index in enumerate(of_class[steps] if len(of_class) else ()):
                image = Image.fromarray(split.images[index].squeeze())
                sheet.paste(image, (_MARGIN + label * width, top + row * height))
    return sheet


def count_by(names: Mapping[str, Sequence[str]]) -> list[tuple[str, str, int]]:
    """Counts names in each split: name, split and number, sorted by name."""
    counts = {split: Counter(of_split) for split, of_split in names.items()}
    every = sorted({name for count in counts.values() for name in count})
    return [(name, split, counts[split][name]) for name in every for split in counts]


def find_near_duplicates(splits: Mapping[str, Split]) -> list[tuple[str, str, float]]:
    """Finds images of one class in different splits that differ by NEAR or less.

    Returns:
        split/file name of both, and the root mean square difference, sorted by it.
    """
    means = {name: _block_means(split.images) for name, split in splits.items()}
    # Blocks differ by no more than their pixels (Jensen). A little more: means are rounded.
    limit = 1.01 * NEAR * np.sqrt(next(iter(means.values())).shape[1])
    pairs = []
    for one, other in combinations(splits, 2):
        for label in np.unique(splits[one].labels):
            rows, columns = (np.flatnonzero(splits[name].labels == label) for name in (one, other))
            for some in np.array_split(rows, len(rows) // 500 + 1):  # bounds the memory
                distances = cdist(means[one][some], means[other][columns])
                for i, j in np.argwhere(distances <= limit):
                    a, b = some[i], columns[j]
                    difference = _difference(splits[one].images[a], splits[other].images[b])
                    if difference <= NEAR:
                        first, second = splits[one].filenames[a], splits[other].filenames[b]
                        pairs.append((f"{one}/{first}", f"{other}/{second}", difference))
    return sorted(pairs, key=lambda pair: (pair[2], pair))


def _difference(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    return float(np.sqrt(np.mean(np.subtract(one, other, dtype=np.float64) ** 2)) / 255)


def _block_means(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Returns the mean of each block of pixels, 0..1 [n, blocks]."""
    means = block_reduce(images, (1, _BLOCK, _BLOCK, images.shape[3]), np.mean) / 255
    return np.asarray(means.reshape(len(images), -1))


def show_data(
    config: ClassifierConfig,
    records: Path,
    splits: Sequence[str],
    results: Path,
    manifest: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Writes examples.png, counts_by_class.csv and near_duplicates.csv to `results`.

    With a manifest, also counts_by_style.csv and counts_by_family.csv.

    Raises:
        FileNotFoundError: the records are missing.
        PipelineError: the records are damaged or do not fit the config.
    """
    loaded = {name: load_split(records / name, config) for name in splits}
    near = find_near_duplicates(loaded)
    fields = {"class": {n: [config.output_names[i] for i in s.labels] for n, s in loaded.items()}}
    for field in ("style", "family"):
        if manifest:
            fields[field] = {
                n: [manifest[f][field] for f in s.filenames] for n, s in loaded.items()
            }
    for field, names in fields.items():
        write_csv(results / f"counts_by_{field}.csv", (field, "split", "n"), count_by(names))
    write_csv(results / "near_duplicates.csv", ("image", "other", "difference"), near)
    with replacing(results / "examples.png") as path:
        draw_examples(loaded, config).save(path)
    n_images = sum(len(split.labels) for split in loaded.values())
    print(f"{results}: {n_images} images, {len(near)} near-duplicates in different splits")
