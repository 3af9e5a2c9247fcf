"""Stage show_data: shows examples, counts and near-duplicates of both pipelines' data."""

from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.stage import run
from letterpress.mistakes.show import read_manifests
from letterpress.mnist.config import MnistConfig
from letterpress.overview.show import show_data

DIGITS, LETTERS, RESULTS = Path("data/mnist"), Path("data/ascii_letter"), Path("data/overview")


def main() -> None:
    digits, letters = MnistConfig.from_yaml(), AsciiLetterConfig.from_yaml()
    splits = ["train", "validation", "test"]
    show_data(digits, DIGITS / "tfrecords", splits, RESULTS / "mnist")
    splits, manifest = [*splits, "unseen"], read_manifests(LETTERS / "raw", letters)
    show_data(letters, LETTERS / "tfrecords", splits, RESULTS / "ascii_letter", manifest)


if __name__ == "__main__":
    run(main)
