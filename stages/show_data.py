"""Stage show_data@PIPELINE: shows examples, counts and near-duplicates of a pipeline's data."""

import sys
from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.errors import run
from letterpress.mistakes.show import read_manifests
from letterpress.mnist.config import MnistConfig
from letterpress.overview.show import show_data

DATA, SPLITS = Path("data"), ["train", "validation", "test"]


def main(pipeline: str) -> None:
    data, results = DATA / pipeline, DATA / "overview" / pipeline
    if pipeline == "mnist":
        show_data(MnistConfig.from_yaml(), data / "tfrecords", SPLITS, results)
    else:
        config = AsciiLetterConfig.from_yaml()
        manifest = read_manifests(data / "raw", config)
        show_data(config, data / "tfrecords", [*SPLITS, "unseen"], results, manifest)


if __name__ == "__main__":
    run(main, *sys.argv[1:])
