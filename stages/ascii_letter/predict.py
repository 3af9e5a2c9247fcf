"""Classifies pictures of letters: python -m stages.ascii_letter.predict FILE..."""

from pathlib import Path

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.errors import run
from stages.mnist.prediction import predict

CLASSIFIER = Path("data/ascii_letter/classifier.weights.h5")


def main() -> None:
    predict(AsciiLetterConfig, CLASSIFIER)


if __name__ == "__main__":
    run(main, alone=False)
