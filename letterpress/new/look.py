"""Looks at images in class folders, and describes what a pipeline for them needs to know."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from letterpress.core.errors import PipelineError
from letterpress.images.config import check_class_name
from letterpress.images.files import find_layout, is_image_name, is_split_name, open_files
from letterpress.prediction.ink import rim
from letterpress.records.image import CONVERT_HEIC, open_image, read_picture

_ORIENTATION, _TURNED = 0x0112, range(5, 9)  # the EXIF tag, and its values for a quarter turn
_MOST_SAMPLES, _PER_FOLDER = 400, 4  # of images whose pixels are decoded, which takes long


class Findings(NamedTuple):
    """What is in a data set."""

    counts: dict[str, dict[str, int]]
    """The number of images by class, then by split folder: "train" if there are none."""
    sizes: tuple[tuple[int, int, int], tuple[int, int, int]]
    """The least, median and largest width and height."""
    is_colour: bool
    is_dark_on_light: bool
    left_out: dict[str, int]
    """The number of files that are not used, by reason."""

    @property
    def n_images(self) -> int:
        """The number of images that are used."""
        return sum(self.totals.values())

    @property
    def totals(self) -> dict[str, int]:
        """The number of images by class."""
        return {name: sum(splits.values()) for name, splits in self.counts.items()}

    @property
    def splits(self) -> set[str]:
        """The splits that have a folder."""
        return {split for splits in self.counts.values() for split in splits}


def look(source: Path) -> Findings:
    """Looks at the header of each image, and at the pixels of some.

    Raises:
        FileNotFoundError: there is nothing at `source`.
        PipelineError: it is damaged, or the images are not in at least two class folders.
    """
    if not (source.is_dir() or source.is_file()):
        raise PipelineError(f"{source}: no such file or folder. Check --from")
    folders: set[str] = set()
    readable: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    sizes: list[tuple[int, int]] = []
    samples: list[tuple[bool, bool]] = []
    with open_files(source) as files:
        for name, read in files:
            folder = name.rpartition("/")[0]
            if not is_image_name(name):
                suffix = PurePosixPath(name).suffix.lower()
                remedy = f". {CONVERT_HEIC}" if suffix in (".heic", ".heif") else ""
                left_out[f"{suffix}: not an image format{remedy}"] += 1
                continue
            folders.add(folder)
            try:
                content = read()
                with open_image(name, content) as image:
                    is_turned = image.getexif().get(_ORIENTATION) in _TURNED
                    size = image.size[::-1] if is_turned else image.size
                if readable[folder] < _PER_FOLDER and len(samples) < _MOST_SAMPLES:
                    samples.append(_describe(name, content))
            except PipelineError as error:
                left_out[str(error)] += 1
                continue
            readable[folder] += 1
            sizes.append(size)
    counts = _count(source, folders, readable, left_out)
    colour, light = np.mean(samples, axis=0) > (0.1, 0.5)
    # One of the values even if their number is even: a size is a whole number.
    found = np.quantile(sizes, (0, 0.5, 1), axis=0, method="inverted_cdf").T.tolist()
    width, height = map(tuple, found)
    return Findings(counts, (width, height), bool(colour), bool(light), dict(left_out))


def _count(
    source: Path, folders: set[str], readable: Mapping[str, int], left_out: Counter[str]
) -> dict[str, dict[str, int]]:
    """Returns the number of images by class and split, the classes in their natural order."""
    layout = find_layout(folders)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for folder in sorted(folders):
        n_images = readable[folder]  # 0 if none can be decoded: still a class for `read_splits`
        place = layout.place(f"{folder}/name" if folder else "name")
        if not place:
            left_out["outside the class folders"] += n_images
            continue
        split, name, _ = place
        known = next((other for other in counts if other.casefold() == name.casefold()), name)
        counts[known][split] += n_images
    left_out += Counter()  # removes zeros
    if len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise PipelineError(
            f"{source}: expected at least two class folders with images (got {found}{_most(left_out)}"
            "). Put the images of each class into a folder with its name: cat/1.jpg, dog/1.jpg"
        )
    if all(is_split_name(name) for name in counts):
        raise PipelineError(
            f"{source}: expected class folders inside the split folders (got images in "
            f"{', '.join(counts)}). Put the images of each class into a folder: train/cat/1.jpg"
        )
    for name, splits in counts.items():
        try:
            check_class_name(name)
        except ValueError as error:
            raise PipelineError(f"{source}: {error}") from error
        if not splits["train"]:
            raise PipelineError(
                f"{source}: no training images of class {name} (got {dict(splits)}"
                f"{_most(left_out)}). Add some, or remove the folder"
            )
    if max(counts[name]["train"] for name in counts) < 3:
        raise PipelineError(f"{source}: fewer than three images per class. Add images")
    return {name: dict(counts[name]) for name in sorted(counts, key=_natural)}


def _most(left_out: Counter[str]) -> str:
    """Describes what was left out most often, if anything was."""
    return "".join(f"; left out {n}: {reason:.200}" for reason, n in left_out.most_common(1))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 2 before 10."""
    parts = re.findall(r"\d+|\D+", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _describe(name: str, content: bytes) -> tuple[bool, bool]:
    """Tells whether an image has colours, and whether its rim is lighter than the rest."""
    pixels = np.asarray(read_picture(name, content, 64).convert("RGB"), np.float32)
    grey = pixels.mean(axis=2)
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    # Grey photographs in JPEG files are coloured by a few levels of 255.
    return bool(np.percentile(spread, 90) > 12), bool(np.median(rim(grey)) > max(grey.mean(), 127))
