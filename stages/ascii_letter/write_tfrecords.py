"""Stage write_tfrecords@ascii_letter: a tarball with one folder of images a class, to TFRecords."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.tarball import decode_image, read_tarball
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import Example, write_splits
from stages.mnist.errors import PipelineError, run

RAW = Path("data/ascii_letter/raw")
RECORDS = Path("data/ascii_letter/tfrecords")


def split_files(tarball: Path, config: MnistConfig) -> tuple[set[str], set[str]]:
    """Divides the image files of a tarball, each class in the same proportion, at random by the seed.

    Returns:
        The names of n_train_samples and of n_test_samples files, class/file.png, none in both.

    Raises:
        PipelineError: the tarball cannot be read, has a file outside the classes' folders, or too
            few images of a class.
    """
    by_class = defaultdict(list)
    for name, _ in read_tarball(tarball, config):
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


def read_examples(
    tarball: Path, config: MnistConfig, names: set[str] | None = None
) -> Iterator[Example]:
    """Yields the named images of a tarball, or all, in its order.

    Raises:
        PipelineError: a file is no image, or not of the size and the channels that the params say.
    """
    labels = {name: label for label, name in enumerate(config.class_names)}
    for name, content in read_tarball(tarball, config):
        if names is None or name in names:
            yield Example(decode_image(name, content, config), labels[name.split("/")[0]], name)


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    train, test = split_files(RAW / "letters.tar", config)
    splits = {
        "train": read_examples(RAW / "letters.tar", config, train),
        "test": read_examples(RAW / "letters.tar", config, test),
        "unseen": read_examples(RAW / "unseen.tar", config),
    }
    write_splits(RECORDS, splits, config)
    print(f"{RECORDS}: {len(train)} train letters, {len(test)} test letters, and the unseen ones")


if __name__ == "__main__":
    run(main)
