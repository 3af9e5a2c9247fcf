"""A data set in parts: what they are called, and what belongs to each."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.mnist.shards import shard_paths, share


def test_the_shards_are_named_after_their_folder_and_their_number(tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    assert shard_paths(folder, ".tar", 2) == [
        folder / "letters-00000-of-00002.tar",
        folder / "letters-00001-of-00002.tar",
    ]


def test_the_order_of_the_names_is_that_of_the_shards(tmp_path: Path) -> None:
    paths = shard_paths(tmp_path, ".tfrecord", 1200)
    assert len(set(paths)) == 1200
    assert sorted(paths) == paths


TOTALS, N_SHARDS = (0, 1, 2, 5, 6, 7, 64, 100, 2600), (1, 2, 3, 6, 7, 64, 101)


@pytest.mark.parametrize("n_shards", N_SHARDS)
@pytest.mark.parametrize("total", TOTALS)
def test_each_thing_is_in_exactly_one_shard_and_the_shards_are_as_large(
    total: int, n_shards: int
) -> None:
    shares = [share(total, index, n_shards) for index in range(n_shards)]
    assert [thing for one in shares for thing in one] == list(range(total))  # in their order
    sizes = list(map(len, shares))
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("n_shards", N_SHARDS)
def test_of_more_things_no_shard_has_fewer(n_shards: int) -> None:
    """A shard of 101 images is enough for a shard of 80 and 20 samples."""
    for index in range(n_shards):
        sizes = [len(share(total, index, n_shards)) for total in range(200)]
        assert sizes == sorted(sizes)
