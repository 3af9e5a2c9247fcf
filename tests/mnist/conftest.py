"""One small training, shared by the tests of training and of evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from stages.mnist.config import MnistConfig
from stages.mnist.records import write_splits
from stages.mnist.training import train
from stages.mnist.write_tfrecords import draw_examples
from tests.conftest import Params, write_digits, write_params


@dataclass(frozen=True)
class Trained:
    """A folder with records, and the classifier that was trained on them."""

    folder: Path
    config: MnistConfig
    records: Path
    features: Path
    weights: Path
    curves: Path
    classifier: Any

    @property
    def train_records(self) -> Path:
        return self.records / "train"

    @property
    def test_records(self) -> Path:
        return self.records / "test"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    write_params(folder, _tiny_params)
    config = replace(
        MnistConfig.from_yaml(folder / "params.yaml"),
        n_train_samples=200,
        n_test_samples=60,
        batch_size=26,  # the last one is smaller
        max_rotation=2.0,
        max_shift=0.5,
        max_zoom=0.02,
        max_shear=0.02,
        feature_dropout=0.0,
        dense_dropout=0.3,
        batch_norm_momentum=0.9,
        dtype_policy="float32",
        n_epochs=2,
        learning_rate=0.003,
        learning_rate_schedule="cosine",
        warmup=0.1,
        optimizer="adam",
        freeze_features=False,
        pretrained_features=False,
    )
    write_digits(folder / "raw", config.n_train_samples, config.n_test_samples)
    splits = {
        "train": draw_examples(folder / "raw", "train", config.n_train_samples, config, 0),
        "test": draw_examples(folder / "raw", "t10k", config.n_test_samples, config, 0),
    }
    write_splits(folder / "tfrecords", splits, config)
    curves = folder / "curves"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        classifier = train(config, folder / "tfrecords" / "train", curves)
    features, weights = folder / "features.weights.h5", folder / "classifier.weights.h5"
    classifier.get_layer("features").save_weights(features)
    classifier.save_weights(weights)
    return Trained(folder, config, folder / "tfrecords", features, weights, curves, classifier)
