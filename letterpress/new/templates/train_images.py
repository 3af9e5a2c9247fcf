"""Stage train_NAME: trains the classifier of the pipeline NAME and evaluates it."""

import sys
from pathlib import Path

from letterpress.core.files import replacing
from letterpress.core.stage import run
from letterpress.evaluation.metrics import evaluate_splits
from letterpress.images.config import ImagesConfig
from letterpress.training.loop import train
from letterpress.training.workers import is_chief


def main(name: str) -> None:
    config, data = ImagesConfig.named(name).from_yaml(), Path("data", name)
    records, classifier_weights = data / "tfrecords", data / "classifier.weights.h5"
    features = Path(config.parent) if config.parent else None
    with (
        replacing(data / "curves") as curves,
        replacing(data / "features.weights.h5") as feature_weights,
        replacing(classifier_weights) as weights,
    ):
        classifier = train(config, records, curves, features, data / "training.npz")
        classifier.get_layer("features").save_weights(feature_weights)
        classifier.save_weights(weights)
    splits = ["test", "validation"]
    evaluate_splits(config, classifier_weights, records, data, splits, by_class=True)


if __name__ == "__main__":
    run(main, *sys.argv[1:], alone=is_chief())
