"""The one training function of all pipelines, on one machine and on several."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dvclive import Live
from scmrepo.exceptions import SCMError
from tqdm import tqdm

from stages.mnist.augmentation import augmented
from stages.mnist.backend import keras, tf
from stages.mnist.checkpoint import Checkpoint, fingerprint
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import WHOLE, read_lengths, reading, stream_batches
from stages.mnist.errors import PipelineError
from stages.mnist.model import build_classifier, load_weights
from stages.mnist.optimizer import build_optimizer
from stages.mnist.workers import Workers, join_workers

STEPS_PER_CALL = 16
"""Of TensorFlow, from Python: more gain nothing, and the progress bar stands still for longer."""


def train(
    config: MnistConfig,
    records: Path,
    curves: Path,
    features: Path | None = None,
    checkpoint: Path | None = None,
) -> Any:
    """Trains a classifier on a split of records. Same arguments, same machine: same weights, to the bit.

    With TF_CONFIG in the environment (see stages/mnist/workers.py) this process is one of several
    that train it together, each with its part of every batch; the loss is one worker's, but for
    rounding. The chief alone returns, and writes.

    Args:
        config: the architecture, the augmentation and the schedule; batch_size is that of all
            workers together.
        records: the folder of a split of n_train_samples examples.
        curves: a folder for DVCLive's learning curves (loss and accuracy of each epoch).
        features: the feature weights of a parent pipeline, loaded when config.pretrained_features.
        checkpoint: a .npz file in which the chief of several workers keeps the state after each
            epoch. A training that was broken off goes on from there.

    Returns:
        The trained classifier (see `build_classifier`).

    Raises:
        PipelineError: records or weights are missing or do not fit the config, the loss grew beyond
            all numbers, TF_CONFIG is wrong, or another worker was lost.
        SystemExit: the training is over, and this worker is not the chief.
    """
    workers = join_workers(config.batch_size)
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    kept: Checkpoint | None = None
    with workers.naming_losses(lambda: kept.n_epochs if kept else 0):
        with workers.strategy.scope():
            classifier = _untrained(config, features)
        kept = _checkpoint(classifier, workers, config, records, features, checkpoint)
        with reading(records), _live(curves) if workers.is_chief else nullcontext() as live:
            history = kept.restore()
            for logs in history:
                _log(live, logs)
            for logs in _epochs(classifier, config, records, workers, len(history)):
                _log(live, logs)
                if not math.isfinite(logs["loss"]):
                    raise PipelineError(
                        f"{config.section}: the training diverged, its loss is no number: "
                        "lower learning_rate"
                    )
                history.append(logs)
                kept.save(history)
        kept.remove()
    if not workers.is_chief:
        sys.exit()
    trained = build_classifier(config)  # without the optimizer, whose state would triple the file
    trained.set_weights(classifier.get_weights())
    return trained


def _untrained(config: MnistConfig, features: Path | None) -> Any:
    """Returns the compiled classifier, with its parent's features or without."""
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
        build_optimizer(config, _steps_per_epoch(config) * config.n_epochs),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    classifier.optimizer.build(classifier.trainable_variables)
    return classifier


def _checkpoint(
    classifier: Any,
    workers: Workers,
    config: MnistConfig,
    records: Path,
    features: Path | None,
    path: Path | None,
) -> Checkpoint:
    if path is None or workers.part == WHOLE:
        return Checkpoint(None, workers, [], "")
    measured = {id(variable) for variable in classifier.metrics_variables}  # set to 0 in each epoch
    variables = [v for v in classifier.variables if id(v) not in measured]
    files = [Path(shard) for shard in read_lengths(records)] if workers.is_chief else []
    files += [features] if features and workers.is_chief else []
    of = fingerprint([config, workers.part.n_parts], files)
    return Checkpoint(path, workers, [*variables, *classifier.optimizer.variables], of)


def _epochs(
    classifier: Any, config: MnistConfig, records: Path, workers: Workers, n_done: int
) -> Iterator[dict[str, float]]:
    """Trains for the epochs that are left; yields the accuracy and the loss of each, over all workers."""
    strategy = workers.strategy
    n_steps = _steps_per_epoch(config)
    stream = stream_batches(records, config, workers.part)
    # One endless iterator: to make a new one for each epoch can take half as long as the epoch.
    batches = iter(augmented(stream, config, workers.part, n_done * n_steps))

    @tf.function  # type: ignore[untyped-decorator]
    def run_steps(batches: Any, n: Any) -> None:
        for _ in tf.range(n):
            strategy.run(classifier.train_step, args=(next(batches),))

    @tf.function  # type: ignore[untyped-decorator]
    def measure() -> Any:
        means = strategy.run(classifier.get_metrics_result)
        return {name: strategy.reduce("MEAN", mean, axis=None) for name, mean in means.items()}

    for epoch in range(n_done + 1, config.n_epochs + 1):
        classifier.reset_metrics()
        title = f"Epoch {epoch}/{config.n_epochs}"
        hidden = None if workers.is_chief else True  # None: where nobody looks
        with tqdm(desc=title, total=n_steps, leave=False, unit=" steps", disable=hidden) as bar:
            for start in range(0, n_steps, STEPS_PER_CALL):
                n = min(STEPS_PER_CALL, n_steps - start)
                run_steps(batches, tf.constant(n))
                bar.update(n)
        logs = {name: float(value) for name, value in measure().items()}
        if workers.is_chief:
            print(f"{title}: accuracy {logs['accuracy']:.4f}, loss {logs['loss']:.4f}", flush=True)
        yield logs


def _steps_per_epoch(config: MnistConfig) -> int:
    return math.ceil(config.n_train_samples / config.batch_size)


def _live(curves: Path) -> Live:
    try:
        return Live(str(curves), dvcyaml=None, report=None, save_dvc_exp=False)
    except SCMError as error:  # from a repository without a commit
        raise PipelineError(f"DVCLive cannot use this git repository: {error}; commit") from error


def _log(live: Live | None, logs: dict[str, float]) -> None:
    if live is None:  # not the chief
        return
    for name in ("accuracy", "loss"):
        live.log_metric(name, round(logs[name], 6))
    live.next_step()
