"""MNIST's images as examples, divided into shards."""

import random
from collections.abc import Iterator
from pathlib import Path

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.jobs.shards import share
from letterpress.mnist.idx import FILES, read_digits
from letterpress.records.example import Example, Splits

SPLITS = ("train", "test")


def draw_examples(
    folder: Path, split: str, n: int, config: ClassifierConfig, shard: int
) -> Iterator[Example]:
    """Yields a shard's share of `n` examples of an MNIST split, drawn at random, in their order.

    Raises:
        PipelineError: the split has fewer than `n` examples, or see `read_digits`.
    """
    images, labels = read_digits(folder, split)
    if n > len(images):
        raise PipelineError(
            f"{folder}: expected at least {n} {split} images (got {len(images)}). "
            "Lower n_train_samples or n_test_samples"
        )
    drawn = sorted(random.Random(config.seed).sample(range(len(images)), n))
    for place in share(n, shard, config.n_shards):
        index = drawn[place]
        yield Example(images[index, :, :, None], int(labels[index]), f"{split}/{index:05d}")


def read_shard(config: ClassifierConfig, shard: int, files: tuple[Path, ...]) -> Splits:
    """Returns the examples of each split in a shard; see `write_shards`."""
    folder = files[0].parent
    return {
        "train": draw_examples(folder, "train", config.n_train_samples, config, shard),
        "test": draw_examples(folder, "t10k", config.n_test_samples, config, shard),
    }


def list_sources(raw: Path, config: ClassifierConfig) -> list[tuple[Path, ...]]:
    """Returns the files that each shard's examples are read from: for MNIST, all of them."""
    return [tuple(raw / name for name in FILES)] * config.n_shards
