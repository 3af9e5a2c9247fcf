"""Stage fine_tune_ascii: trains the letters classifier, from the digits' features or scratch."""

from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.files import replacing
from letterpress.core.stage import run
from letterpress.training.loop import train
from letterpress.training.workers import is_chief

DATA = Path("data/ascii_letter")
CLASSIFIER = DATA / "classifier.weights.h5"
FEATURES = Path("data/mnist/features.weights.h5")


def main() -> None:
    config, checkpoint = AsciiLetterConfig.from_yaml(), DATA / "training.npz"
    with replacing(DATA / "curves") as curves, replacing(CLASSIFIER) as weights:
        classifier = train(config, DATA / "tfrecords", curves, FEATURES, checkpoint)
        classifier.save_weights(weights)
    print(f"{CLASSIFIER}: letters classifier")


if __name__ == "__main__":
    run(main, alone=is_chief())
