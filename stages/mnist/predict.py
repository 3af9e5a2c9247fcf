"""Classifies pictures of digits: python -m stages.mnist.predict FILE..."""

from pathlib import Path

from stages.mnist.config import MnistConfig
from stages.mnist.errors import run
from stages.mnist.prediction import predict

CLASSIFIER = Path("data/mnist/classifier.weights.h5")


def main() -> None:
    predict(MnistConfig, CLASSIFIER)


if __name__ == "__main__":
    run(main, alone=False)
