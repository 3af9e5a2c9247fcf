"""A data set in several files (shards), and the jobs that write them.

Shards are named after their folder, as in TensorFlow Datasets:
letters/letters-00000-of-00002.tar, letters/letters-00001-of-00002.tar
"""

from pathlib import Path
from typing import Any, NamedTuple


class Job(NamedTuple):
    """One call of `map_jobs`: arguments, the files it reads, and those it writes (one or more)."""

    arguments: tuple[Any, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]


def shard_paths(folder: Path, suffix: str, n_shards: int) -> list[Path]:
    """Returns the paths of all shards of the data set in `folder`, in order."""
    return [
        folder / f"{folder.name}-{index:05d}-of-{n_shards:05d}{suffix}" for index in range(n_shards)
    ]


def share(total: int, index: int, n_shards: int) -> range:
    """Returns the contiguous range of items in a shard.

    Sizes differ by at most one, earlier shards are the larger ones, and no shard shrinks when
    `total` grows.
    """
    size, rest = divmod(total, n_shards)
    first = index * size + min(index, rest)
    return range(first, first + size + (index < rest))
