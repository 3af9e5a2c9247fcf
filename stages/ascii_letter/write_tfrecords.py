"""Stage write_tfrecords@ascii_letter: tarballs with one folder of images a class, to TFRecords."""

from __future__ import annotations

from pathlib import Path

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.tarball import read_examples, split_files
from stages.mnist.config import MnistConfig
from stages.mnist.errors import run
from stages.mnist.records import Splits, write_shards
from stages.mnist.shards import shard_paths

RAW = Path("data/ascii_letter/raw")
RECORDS = Path("data/ascii_letter/tfrecords")


def read_shard(config: MnistConfig, shard: int, tarballs: tuple[Path, ...]) -> Splits:
    """Returns the examples of a shard; see `write_shards`."""
    letters, unseen = tarballs
    train, test = split_files(letters, config, shard)
    return {
        "train": read_examples(letters, config, train),
        "test": read_examples(letters, config, test),
        "unseen": read_examples(unseen, config),
    }


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    tarballs = (shard_paths(RAW / name, ".tar", config.n_shards) for name in ("letters", "unseen"))
    sources = list(zip(*tarballs, strict=True))
    write_shards(RECORDS, ("train", "test", "unseen"), read_shard, sources, config)


if __name__ == "__main__":
    run(main)
