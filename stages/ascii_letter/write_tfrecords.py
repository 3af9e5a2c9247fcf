"""Stage write_tfrecords@ascii_letter: a tarball with one folder of images a class, to TFRecords."""

from __future__ import annotations

from pathlib import Path

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.tarball import read_examples, split_files
from stages.mnist.dataset import write_splits
from stages.mnist.errors import run

RAW = Path("data/ascii_letter/raw")
RECORDS = Path("data/ascii_letter/tfrecords")


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    train, test = split_files(RAW / "letters.tar", config)
    splits = {
        "train": read_examples(RAW / "letters.tar", config, train),
        "test": read_examples(RAW / "letters.tar", config, test),
        "unseen": read_examples(RAW / "unseen.tar", config),
    }
    write_splits(RECORDS, splits, config)


if __name__ == "__main__":
    run(main)
