"""The one training function of all pipelines."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from dvclive import Live
from scmrepo.exceptions import SCMError

from stages.mnist.augmentation import augmented
from stages.mnist.backend import keras, tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import reading, stream_batches
from stages.mnist.errors import PipelineError
from stages.mnist.model import build_classifier, load_weights


def train(config: MnistConfig, records: Path, curves: Path, features: Path | None = None) -> Any:
    """Trains a classifier on a split of records. Same arguments, same machine: same weights, to the bit.

    Args:
        config: the architecture, the augmentation and the schedule.
        records: the folder of a split of n_train_samples examples.
        curves: a folder for DVCLive's learning curves (loss and accuracy of each epoch).
        features: the feature weights of a parent pipeline, loaded when config.pretrained_features.

    Returns:
        The trained classifier (see `build_classifier`).

    Raises:
        PipelineError: records or weights are missing or do not fit the config, or the loss grew
            beyond all numbers.
    """
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    classifier = build_classifier(config)
    extractor = classifier.get_layer("features")
    if config.pretrained_features:
        if features is None:
            raise PipelineError(
                f"pretrained_features is true, but the pipeline {config.section} has no parent "
                f"to take them from: set {config.section}.pretrained_features to false"
            )
        load_weights(extractor, features)
    elif config.freeze_features:
        raise PipelineError(
            f"{config.section}: freeze_features is true and pretrained_features false, which "
            "would keep random features: set one of them to the other's value"
        )
    extractor.trainable = not config.freeze_features
    classifier.compile(
        _optimizer(config), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    # One endless iterator: to make a new one for each epoch can take half as long as the epoch.
    batches = augmented(stream_batches(records, config), config)
    with reading(records), _live(curves) as live:
        history = classifier.fit(
            batches,
            epochs=config.n_epochs,
            steps_per_epoch=_steps_per_epoch(config),
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
            callbacks=[
                keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: _log(live, logs))
            ],
        )
    if not math.isfinite(history.history["loss"][-1]):
        raise PipelineError(
            f"{config.section}: the training diverged, its loss is no number: lower learning_rate"
        )
    trained = build_classifier(config)  # without the optimizer, whose state would triple the file
    trained.set_weights(classifier.get_weights())
    return trained


def _steps_per_epoch(config: MnistConfig) -> int:
    return math.ceil(config.n_train_samples / config.batch_size)


def _optimizer(config: MnistConfig) -> Any:
    steps = _steps_per_epoch(config) * config.n_epochs
    warmup = int(steps * config.warmup)
    # A cosine that never starts to fall within the training is a constant.
    decay = steps - warmup if config.learning_rate_schedule == "cosine" else 2**60
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else config.learning_rate,
        decay,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return keras.optimizers.get({"class_name": config.optimizer, "config": {"learning_rate": rate}})


def _live(curves: Path) -> Live:
    try:
        return Live(str(curves), dvcyaml=None, report=None, save_dvc_exp=False)
    except SCMError as error:  # from a repository without a commit
        raise PipelineError(f"DVCLive cannot use this git repository: {error}; commit") from error


def _log(live: Live, logs: dict[str, float]) -> None:
    for name in ("accuracy", "loss"):
        live.log_metric(name, round(logs[name], 6))
    live.next_step()
