"""Stage write_NAME: writes the images of the pipeline NAME as TFRecords."""

import sys
from pathlib import Path

from letterpress.core.stage import run
from letterpress.images.config import ImagesConfig
from letterpress.images.examples import read_splits
from letterpress.records.write import write_splits


def main(name: str) -> None:
    config = ImagesConfig.named(name).from_yaml()
    write_splits(Path("data", name, "tfrecords"), read_splits(config), config)


if __name__ == "__main__":
    run(main, *sys.argv[1:])
