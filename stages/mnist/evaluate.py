"""Stage evaluate, first part: the digits classifier on the test digits."""

from __future__ import annotations

from pathlib import Path

from stages.mnist.config import MnistConfig
from stages.mnist.errors import run
from stages.mnist.evaluation import evaluate_splits

CLASSIFIER = Path("data/mnist/classifier.weights.h5")
RECORDS = Path("data/mnist/tfrecords")
RESULTS = Path("data/mnist")


def main() -> None:
    evaluate_splits(MnistConfig.from_yaml(), CLASSIFIER, RECORDS, RESULTS)


if __name__ == "__main__":
    run(main)
