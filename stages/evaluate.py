"""Stage evaluate: classifies the test images of both pipelines and shows the mistakes."""

from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.errors import run
from letterpress.evaluation.metrics import evaluate_splits
from letterpress.mistakes.show import show_mistakes
from letterpress.mnist.config import MnistConfig

DIGITS, LETTERS = Path("data/mnist"), Path("data/ascii_letter")


def main() -> None:
    digits, letters = MnistConfig.from_yaml(), AsciiLetterConfig.from_yaml()
    pipelines = (digits, DIGITS, ["test"]), (letters, LETTERS, ["test", "unseen"])
    for config, data, splits in pipelines:
        weights, records = data / "classifier.weights.h5", data / "tfrecords"
        evaluate_splits(config, weights, records, data, splits)
    show_mistakes(letters, LETTERS / "raw", LETTERS, Path("data/mistakes"))


if __name__ == "__main__":
    run(main)
