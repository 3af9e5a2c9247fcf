"""One small training that several test modules share."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from letterpress.mnist.config import MnistConfig
from letterpress.mnist.examples import SPLITS, draw_examples
from letterpress.records.write import write_splits
from letterpress.training.loop import train
from tests.conftest import write_digits


class Trained(NamedTuple):
    """Records and the classifier trained on them. To be read only."""

    folder: Path
    config: MnistConfig
    classifier: Any
    records: Path
    train_records: Path
    test_records: Path
    features: Path
    weights: Path
    curves: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    config = MnistConfig(
        n_train_samples=200,
        n_validation_samples=20,
        n_test_samples=60,
        batch_size=26,  # the last batch is smaller
        blocks=((8, 16),),
        max_rotation=2.0,
        max_shift=0.5,
        max_shear=0.02,
        feature_dropout=0.0,
        dense_dropout=0.3,
        n_epochs=2,
        learning_rate=0.003,
    )
    raw, records, curves = folder / "raw", folder / "tfrecords", folder / "curves"
    features, weights = folder / "features.weights.h5", folder / "classifier.weights.h5"
    write_digits(raw, 220, config.n_test_samples)
    write_splits(records, {split: draw_examples(raw, split, config) for split in SPLITS}, config)
    classifier = train(config, records, curves)
    classifier.get_layer("features").save_weights(features)
    classifier.save_weights(weights)
    sides = records / "train", records / "test"
    return Trained(folder, config, classifier, records, *sides, features, weights, curves)
