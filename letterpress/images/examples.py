"""Divides the images of class folders into splits, stratified by class, and decodes them."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from letterpress.core.errors import PipelineError
from letterpress.images.config import ImagesConfig
from letterpress.images.files import Layout, find_layout, is_image_name, open_files
from letterpress.images.image import decode
from letterpress.records.example import Example, Splits, digest

SPLITS = ("test", "validation", "train")
"""In the order in which they are read: of equal images in several splits, the first is kept."""
_MOST_REASONS = 5  # printed, why images were left out


def read_splits(config: ImagesConfig) -> Splits:
    """Returns the examples of each split, to be read in the order of the splits.

    A split that has no folder gets its share of the training images of each class, at random by
    `config.data_seed`: at least one of three. An added image leaves most others in their splits.
    Images that cannot be decoded, and those that an earlier split has too, are left out and
    reported.

    Raises:
        FileNotFoundError: config.source is missing.
        PipelineError: it is damaged, or has other class folders than config.classes.
    """
    source = Path(config.source)
    layout, splits = _assign(source, config)
    seen: dict[int, str] = {}
    return {
        split: _read(source, config, layout, splits == number, split, seen)
        for number, split in enumerate(SPLITS)
    }


def _labels(classes: list[str]) -> dict[str, int]:
    """Returns the label of each class by its name in lower case."""
    return {name.casefold(): label for label, name in enumerate(classes)}


def _assign(source: Path, config: ImagesConfig) -> tuple[Layout, npt.NDArray[np.int8]]:
    """Returns the layout, and the index in SPLITS of each image in the order of its files, int8 [n].

    -1 for images outside the class folders.
    """
    with open_files(source) as files:
        layout = find_layout(name.rpartition("/")[0] for name, _ in files if is_image_name(name))
    labels, splits = _labels(config.classes), []
    drawn: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)  # digest, place, by label
    # A second time: the layout depends on all names.
    with open_files(source) as files:
        for name, _ in files:
            if not is_image_name(name):
                continue
            place = layout.place(name)
            splits.append(SPLITS.index(place[0]) if place else -1)
            if place and place[1].casefold() not in labels:
                raise PipelineError(
                    f"{source}: {place[1]}/ is not among {config.section}.classes. "
                    "Add it in params.yaml, or remove the folder"
                )
            if place and place[0] == "train":
                key = digest(f"{config.data_seed}/{name}".encode())
                drawn[labels[place[1].casefold()]].append((key, len(splits) - 1))
    assigned = np.array(splits, np.int8)
    given = [(assigned == number).any() for number in range(len(SPLITS))]
    for members in drawn.values():
        places = [place for _, place in sorted(members)]
        start = 0
        for number, split in enumerate(SPLITS[:2]):
            if not given[number]:
                end = start + _size(len(members), getattr(config, f"{split}_share"))
                assigned[places[start:end]] = number
                start = end
    return layout, assigned


def _size(n_images: int, share: float) -> int:
    """Returns the number of images in a share, rounded: at least one of three."""
    return max(math.floor(n_images * share + 0.5), n_images >= 3) if share else 0  # 2.5 is 3


def _read(
    source: Path,
    config: ImagesConfig,
    layout: Layout,
    chosen: npt.NDArray[np.bool_],
    split: str,
    seen: dict[int, str],
) -> Iterator[Example]:
    """Yields the chosen images. `seen` has the split of each image so far, by its digest."""
    labels = _labels(config.classes)
    left_out: Counter[str] = Counter()
    with open_files(source) as files:
        images = ((name, read) for name, read in files if is_image_name(name))
        for is_chosen, (name, read) in zip(chosen, images, strict=True):
            place = layout.place(name)
            if not is_chosen or not place:
                continue
            try:
                image = decode(name, read(), config)
            except PipelineError as error:
                left_out[str(error)] += 1
                continue
            key = digest(image.tobytes())
            if seen.setdefault(key, split) != split:
                left_out[f"{name}: equals an image of the {seen[key]} split"] += 1
                continue
            yield Example(image, labels[place[1].casefold()], name)
    if n_images := left_out.total():
        print(f"{split}: left out {n_images} {'image' if n_images == 1 else 'images'}")
    for reason in list(left_out)[:_MOST_REASONS]:
        print(f"  {reason}")
