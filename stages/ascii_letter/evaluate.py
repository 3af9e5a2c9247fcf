"""Stage evaluate, second half: the letters classifier on the test letters."""

from __future__ import annotations

from pathlib import Path

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.errors import run
from stages.mnist.evaluation import evaluate_files

RECORDS = Path("data/ascii_letter/test.tfrecord")
CLASSIFIER = Path("data/ascii_letter/classifier.weights.h5")
METRICS = Path("data/ascii_letter/metrics.json")
PREDICTIONS = Path("data/ascii_letter/predictions.csv")


def main() -> None:
    evaluate_files(AsciiLetterConfig.from_yaml(), RECORDS, CLASSIFIER, METRICS, PREDICTIONS)


if __name__ == "__main__":
    run(main)
