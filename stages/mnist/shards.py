"""A data set in parts: a folder of files named after it, as TensorFlow Datasets names its shards.

letters/letters-00000-of-00002.tar, letters/letters-00001-of-00002.tar
"""

from __future__ import annotations

from pathlib import Path

from stages.mnist.errors import PipelineError


def shard_paths(folder: Path, suffix: str, n_shards: int) -> list[Path]:
    """Returns the paths of all shards of the data set that `folder` is for, in their order."""
    return [
        folder / f"{folder.name}-{index:05d}-of-{n_shards:05d}{suffix}" for index in range(n_shards)
    ]


def find_shards(folder: Path, suffix: str) -> list[Path]:
    """Finds the shards of a data set, in their order.

    Raises:
        PipelineError: there are none, one is missing, or some belong to another number of shards.
    """
    found = sorted(folder.glob(f"{folder.name}-*-of-*{suffix}"))
    expected = shard_paths(folder, suffix, len(found))
    if not found or found != expected:
        odd = sorted(set(expected).symmetric_difference(found)) or shard_paths(folder, suffix, 1)
        raise PipelineError(
            f"{folder}: {len(found)} shards, not the whole of one set (look at {odd[0].name}): "
            "delete the folder and run `dvc repro`"
        )
    return found


def share(total: int, index: int, n_shards: int) -> range:
    """Returns which of `total` things belong to a shard: neighbours, as many as to any other, or one more."""
    return range(total * index // n_shards, total * (index + 1) // n_shards)
