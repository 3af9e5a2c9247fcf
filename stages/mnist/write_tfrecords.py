"""Stage write_tfrecords@mnist: IDX files to TFRecords."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError, run
from stages.mnist.example import Example
from stages.mnist.original import FILES, read_examples
from stages.mnist.records import Splits, write_shards
from stages.mnist.shards import share

RAW = Path("data/mnist/raw")
RECORDS = Path("data/mnist/tfrecords")


def draw_examples(
    folder: Path, split: str, n: int, config: MnistConfig, shard: int
) -> Iterator[Example]:
    """Yields a shard's share of `n` examples of an MNIST split, drawn at random where it has more, in its order.

    Raises:
        PipelineError: the split has fewer than `n` examples, or its files are not what they should be.
    """
    images, labels = read_examples(folder, split)
    if n > len(images):
        raise PipelineError(f"{folder}: {len(images)} {split} images, the params ask for {n}")
    drawn = sorted(random.Random(config.seed).sample(range(len(images)), n))
    for place in share(n, shard, config.n_shards):
        index = drawn[place]
        yield Example(images[index, :, :, None], int(labels[index]), f"{split}/{index:05d}")


def read_shard(config: MnistConfig, shard: int, files: tuple[Path, ...]) -> Splits:
    """Returns the examples of a shard; see `write_shards`."""
    folder = files[0].parent
    return {
        "train": draw_examples(folder, "train", config.n_train_samples, config, shard),
        "test": draw_examples(folder, "t10k", config.n_test_samples, config, shard),
    }


def main() -> None:
    config = MnistConfig.from_yaml()
    sources = [tuple(RAW / name for name in FILES)] * config.n_shards
    write_shards(RECORDS, ("train", "test"), read_shard, sources, config)


if __name__ == "__main__":
    run(main)
