"""MNIST's images as examples, divided into shards."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.jobs.shards import share
from letterpress.mnist.idx import FILES, read_digits
from letterpress.mnist.none import make_none
from letterpress.records.example import Example, Splits

SPLITS = ("train", "validation", "test")


def draw_examples(
    folder: Path, split: str, config: ClassifierConfig, shard: int = 0
) -> Iterator[Example]:
    """Yields a shard's share of the examples of a split of SPLITS, in the order of MNIST's files.

    Training and validation images are drawn at random from MNIST's training images, each split with
    as many of a class as its share of them; test images are drawn from MNIST's test images. After
    them come images of no class, made of the split's digits.

    Raises:
        PipelineError: there are too few images, a label is too high, or see `read_digits`.
    """
    source = "t10k" if split == "test" else "train"
    images, labels = read_digits(folder, source)
    sizes = [config.n_test_samples]
    if source == "train":
        sizes = [config.n_train_samples, config.n_validation_samples]
    if sum(sizes) > len(images):
        raise PipelineError(
            f"{folder}: expected at least {sum(sizes)} {source} images (got {len(images)}). "
            "Lower n_train_samples, n_validation_samples or n_test_samples"
        )
    drawn = _in_proportion(labels, config.data_seed)
    first = config.n_train_samples if split == "validation" else 0
    chosen = sorted(drawn[first : first + getattr(config, f"n_{split}_samples")])
    for place in share(len(chosen), shard, config.n_shards):
        index = chosen[place]
        label, name = int(labels[index]), f"{source}/{index:05d}"
        if label >= config.n_classes:  # it would count as an image of no class
            raise PipelineError(
                f"{name}: expected a label from 0 to {config.n_classes - 1} (got {label}). "
                "Correct the label or n_classes"
            )
        yield Example(images[index, :, :, None], label, name)
    digits = images[chosen]
    for number in share(config.n_none(len(chosen)), shard, config.n_shards):
        # Seeded by number, not by shard: n_shards changes no image.
        image = make_none(digits, np.random.default_rng([config.data_seed, number]))
        yield Example(image[:, :, None], config.n_classes, f"none/{split}-{number:05d}")


def _in_proportion(labels: npt.NDArray[np.uint8], seed: int) -> list[int]:
    """Returns all indices in a random order in which each stretch has each class in proportion."""
    shuffled = np.array(random.Random(seed).sample(range(len(labels)), len(labels)))
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        own = np.flatnonzero(labels[shuffled] == label)
        rank[own] = (np.arange(len(own)) + 0.5) / len(own)
    return [int(index) for index in shuffled[np.argsort(rank, kind="stable")]]


def read_shard(config: ClassifierConfig, shard: int, files: tuple[Path, ...]) -> Splits:
    """Returns the examples of each split in a shard; see `write_shards`."""
    return {split: draw_examples(files[0].parent, split, config, shard) for split in SPLITS}


def list_sources(raw: Path, config: ClassifierConfig) -> list[tuple[Path, ...]]:
    """Returns the files that each shard's examples are read from: for MNIST, all of them."""
    return [tuple(raw / name for name in FILES)] * config.n_shards
