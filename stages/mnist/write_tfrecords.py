"""Stage write_tfrecords@mnist: IDX files to TFRecords."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from stages.mnist.config import MnistConfig
from stages.mnist.dataset import Example, write_splits
from stages.mnist.errors import PipelineError, run
from stages.mnist.original import read_examples

RAW = Path("data/mnist/raw")
RECORDS = Path("data/mnist/tfrecords")


def draw_examples(folder: Path, split: str, n: int, seed: int) -> Iterator[Example]:
    """Yields `n` examples of an MNIST split, drawn at random where it has more, in its order.

    Raises:
        PipelineError: the split has fewer than `n` examples, or its files are not what they should be.
    """
    images, labels = read_examples(folder, split)
    if n > len(images):
        raise PipelineError(f"{folder}: {len(images)} {split} images, the params ask for {n}")
    for index in sorted(random.Random(seed).sample(range(len(images)), n)):
        yield Example(images[index, :, :, None], int(labels[index]), f"{split}/{index:05d}")


def main() -> None:
    config = MnistConfig.from_yaml()
    splits = {
        "train": draw_examples(RAW, "train", config.n_train_samples, config.seed),
        "test": draw_examples(RAW, "t10k", config.n_test_samples, config.seed),
    }
    write_splits(RECORDS, splits, config)


if __name__ == "__main__":
    run(main)
