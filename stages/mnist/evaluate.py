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
    config = MnistConfig.from_yaml()
    splits = {"test": config.n_test_samples}
    evaluate_splits(config, CLASSIFIER, RECORDS, RESULTS, splits)


if __name__ == "__main__":
    run(main)
