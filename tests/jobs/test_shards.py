"""The names of shards, and which items belong to each."""

from pathlib import Path

from letterpress.jobs.shards import shard_paths, share


def test_shards_are_named_after_their_folder_and_sorted_by_index(tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    assert shard_paths(folder, ".tar", 2) == [
        folder / "letters-00000-of-00002.tar",
        folder / "letters-00001-of-00002.tar",
    ]
    paths = shard_paths(tmp_path, ".tfrecord", 1200)
    assert sorted(set(paths)) == paths


def test_each_item_is_in_one_shard_and_sizes_differ_by_at_most_one() -> None:
    for n_shards in (1, 2, 3, 6, 7, 64, 101):
        previous = [0] * n_shards
        for total in range(200):
            shares = [share(total, index, n_shards) for index in range(n_shards)]
            assert [item for one in shares for item in one] == list(range(total))
            sizes = [len(one) for one in shares]
            assert sizes == sorted(sizes, reverse=True)
            assert sizes[0] - sizes[-1] <= 1
            # No shard shrinks: a shard of 101 images holds enough for its 80 and 20 samples.
            assert all(size >= before for size, before in zip(sizes, previous, strict=True))
            previous = sizes
