"""Stage evaluate, first half: the digits classifier on the test digits."""

from __future__ import annotations

from pathlib import Path

from stages.mnist.config import MnistConfig
from stages.mnist.errors import run
from stages.mnist.evaluation import evaluate_files

RECORDS = Path("data/mnist/test.tfrecord")
CLASSIFIER = Path("data/mnist/classifier.weights.h5")
METRICS = Path("data/mnist/metrics.json")
PREDICTIONS = Path("data/mnist/predictions.csv")


def main() -> None:
    evaluate_files(MnistConfig.from_yaml(), RECORDS, CLASSIFIER, METRICS, PREDICTIONS)


if __name__ == "__main__":
    run(main)
