"""Stage train_mnist: trains the digits classifier and saves its features for the children."""

from pathlib import Path

from letterpress.core.files import replacing
from letterpress.core.stage import run
from letterpress.mnist.config import MnistConfig
from letterpress.training.loop import train
from letterpress.training.workers import is_chief

DATA = Path("data/mnist")
CLASSIFIER = DATA / "classifier.weights.h5"
FEATURES = DATA / "features.weights.h5"


def main() -> None:
    config, checkpoint = MnistConfig.from_yaml(), DATA / "training.npz"
    with (
        replacing(DATA / "curves") as curves,
        replacing(FEATURES) as features,
        replacing(CLASSIFIER) as weights,
    ):
        classifier = train(config, DATA / "tfrecords", curves, checkpoint=checkpoint)
        classifier.get_layer("features").save_weights(features)
        classifier.save_weights(weights)
    print(f"{CLASSIFIER}: digits classifier, {FEATURES}: its features")


if __name__ == "__main__":
    # The chief's lock would block the other workers in the same clone.
    run(main, alone=is_chief())
