"""Stage write_tfrecords@ascii_letter: a tarball with one folder of images a class, to TFRecords."""

from __future__ import annotations

import io
import random
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import Example, write_splits
from stages.mnist.errors import PipelineError, run

TARBALL = Path("data/ascii_letter/letters.tar")
TRAIN = Path("data/ascii_letter/train.tfrecord")
TEST = Path("data/ascii_letter/test.tfrecord")


def split_files(tarball: Path, config: MnistConfig) -> tuple[set[str], set[str]]:
    """Divides the image files of a tarball, each class in the same proportion, at random by the seed.

    Returns:
        The names of n_train_samples and of n_test_samples files, class/file.png, none in both.

    Raises:
        PipelineError: the tarball cannot be read, has a file outside the classes' folders, or too
            few images of a class.
    """
    by_class = defaultdict(list)
    for name, _ in _read(tarball, config):
        by_class[name.split("/")[0]].append(name)
    n_train, rest_train = divmod(config.n_train_samples, config.n_classes)
    n_test, rest_test = divmod(config.n_test_samples, config.n_classes)
    if rest_train or rest_test:
        raise PipelineError(
            f"params.yaml: {config.section}: n_train_samples and n_test_samples must be multiples "
            f"of n_classes ({config.n_classes}), so that each class has as many"
        )
    train, test = set(), set()
    for class_name in config.class_names:
        names = sorted(by_class[class_name])
        if len(names) < n_train + n_test:
            raise PipelineError(
                f"{tarball}: {len(names)} images of the class {class_name}, the params ask for "
                f"{n_train} + {n_test}"
            )
        chosen = random.Random(f"{config.seed}/{class_name}").sample(names, n_train + n_test)
        train.update(chosen[:n_train])
        test.update(chosen[n_train:])
    return train, test


def read_examples(tarball: Path, names: set[str], config: MnistConfig) -> Iterator[Example]:
    """Yields the named images of a tarball, in its order.

    Raises:
        PipelineError: a file is no image, or not of the size and the channels that the params say.
    """
    labels = {name: label for label, name in enumerate(config.class_names)}
    for name, content in _read(tarball, config):
        if name in names:
            yield Example(_decode(name, content, config), labels[name.split("/")[0]], name)


def _read(tarball: Path, config: MnistConfig) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of each image file in the folder of a class; leaves the manifest out."""
    try:
        with tarfile.open(tarball) as tar:
            for member in tar:
                if member.isdir() or member.name == "manifest.csv":
                    continue
                file = tar.extractfile(member) if member.isreg() else None
                folder, _, base = member.name.partition("/")
                if file is None or folder not in config.class_names or not base or "/" in base:
                    raise PipelineError(
                        f"{tarball}: {member.name!r} is no file in the folder of a class "
                        f"({config.class_names[0]}/ to {config.class_names[-1]}/): take it out"
                    )
                yield member.name, file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise PipelineError(f"{tarball}: cannot be read as a tarball: {error}") from error


def _decode(
    name: str, content: bytes, config: MnistConfig
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            size, mode = (
                (config.image_width, config.image_height),
                "L" if config.n_channels == 1 else "RGB",
            )
            if image.size != size or image.mode != mode:
                raise PipelineError(
                    f"{name}: an image of {image.size[0]}x{image.size[1]} pixels in mode {image.mode}, "
                    f"the params ask for {size[0]}x{size[1]} in mode {mode}"
                )
            return np.asarray(image).reshape(config.image_shape)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise PipelineError(f"{name}: cannot be read as an image: {error}") from error


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    train, test = split_files(TARBALL, config)
    splits = {
        TRAIN: read_examples(TARBALL, train, config),
        TEST: read_examples(TARBALL, test, config),
    }
    write_splits(splits, config)
    print(f"{TRAIN}: {len(train)} letters, {TEST}: {len(test)}")


if __name__ == "__main__":
    run(main)
