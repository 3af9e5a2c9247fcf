"""Stage evaluate: classifies the images of both pipelines' splits and shows the mistakes."""

from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.stage import run
from letterpress.evaluation.metrics import evaluate_splits
from letterpress.mistakes.show import read_manifests, show_mistakes
from letterpress.mnist.config import MnistConfig

DIGITS, LETTERS = Path("data/mnist"), Path("data/ascii_letter")
WEIGHTS, RECORDS = "classifier.weights.h5", "tfrecords"


def main() -> None:
    digits, letters = MnistConfig.from_yaml(), AsciiLetterConfig.from_yaml()
    splits = ["test", "validation"]
    evaluate_splits(digits, DIGITS / WEIGHTS, DIGITS / RECORDS, DIGITS, splits)
    splits, manifest = [*splits, "unseen"], read_manifests(LETTERS / "raw", letters)
    evaluate_splits(letters, LETTERS / WEIGHTS, LETTERS / RECORDS, LETTERS, splits, manifest)
    show_mistakes(letters, LETTERS / "raw", LETTERS, Path("data/mistakes"))


if __name__ == "__main__":
    run(main)
