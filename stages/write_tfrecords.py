"""Stage write_tfrecords@PIPELINE: writes the raw images of a pipeline as TFRecords."""

import sys
from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.stage import run
from letterpress.mnist import examples
from letterpress.mnist.config import MnistConfig
from letterpress.records import tarball
from letterpress.records.write import write_shards

DATA = Path("data")


def main(pipeline: str) -> None:
    raw, records = DATA / pipeline / "raw", DATA / pipeline / "tfrecords"
    is_digits = pipeline == "mnist"
    config = MnistConfig.from_yaml() if is_digits else AsciiLetterConfig.from_yaml()
    source = examples if is_digits else tarball
    inputs = source.list_sources(raw, config)
    write_shards(records, source.SPLITS, source.read_shard, inputs, config)


if __name__ == "__main__":
    run(main, *sys.argv[1:])
