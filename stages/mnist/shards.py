"""A data set in parts: a folder of files named after it, as TensorFlow Datasets names its shards.

letters/letters-00000-of-00002.tar, letters/letters-00001-of-00002.tar
"""

from __future__ import annotations

from pathlib import Path


def shard_paths(folder: Path, suffix: str, n_shards: int) -> list[Path]:
    """Returns the paths of all shards of the data set that `folder` is for, in their order."""
    return [
        folder / f"{folder.name}-{index:05d}-of-{n_shards:05d}{suffix}" for index in range(n_shards)
    ]


def share(total: int, index: int, n_shards: int) -> range:
    """Returns which of `total` things belong to a shard: neighbours, as many as to a later one, or one more.

    Of more things in all, no shard has fewer.
    """
    size, rest = divmod(total, n_shards)
    first = index * size + min(index, rest)
    return range(first, first + size + (index < rest))
