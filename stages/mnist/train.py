"""Stage train_mnist: the digits classifier, and its features for the children."""

from __future__ import annotations

from pathlib import Path

from stages.mnist.config import MnistConfig
from stages.mnist.errors import run
from stages.mnist.files import replacing
from stages.mnist.training import train
from stages.mnist.workers import is_chief

RECORDS = Path("data/mnist/tfrecords/train")
CURVES = Path("data/mnist/curves")
FEATURES = Path("data/mnist/features.weights.h5")
CHECKPOINT = Path("data/mnist/training.npz")
CLASSIFIER = Path("data/mnist/classifier.weights.h5")


def main() -> None:
    config = MnistConfig.from_yaml()
    with (
        replacing(CURVES) as curves,
        replacing(FEATURES) as features,
        replacing(CLASSIFIER) as weights,
    ):
        classifier = train(config, RECORDS, curves, checkpoint=CHECKPOINT)
        classifier.get_layer("features").save_weights(features)
        classifier.save_weights(weights)
    print(f"{CLASSIFIER}: digits classifier, {FEATURES}: its features")


if __name__ == "__main__":
    run(main, alone=is_chief())
