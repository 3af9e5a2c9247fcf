"""Stage fine_tune_ascii: the letters classifier, from the digits' features or from scratch."""

from __future__ import annotations

from pathlib import Path

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.errors import run
from stages.mnist.files import replacing
from stages.mnist.training import train
from stages.mnist.workers import is_chief

RECORDS = Path("data/ascii_letter/tfrecords/train")
FEATURES = Path("data/mnist/features.weights.h5")
CURVES = Path("data/ascii_letter/curves")
CHECKPOINT = Path("data/ascii_letter/training.npz")
CLASSIFIER = Path("data/ascii_letter/classifier.weights.h5")


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    with replacing(CURVES) as curves, replacing(CLASSIFIER) as weights:
        classifier = train(config, RECORDS, curves, FEATURES, CHECKPOINT)
        classifier.save_weights(weights)
    print(f"{CLASSIFIER}: letters classifier")


if __name__ == "__main__":
    run(main, alone=is_chief())
