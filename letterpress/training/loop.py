"""The one training function of all pipelines."""

import math
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dvclive import Live
from scmrepo.exceptions import SCMError
from tqdm import tqdm

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras, tf
from letterpress.model.network import build_classifier
from letterpress.model.weights import load_weights
from letterpress.records.read import read_lengths, reading, stream_batches
from letterpress.training.augmentation import augmented
from letterpress.training.checkpoint import Checkpoint
from letterpress.training.optimizer import build_optimizer
from letterpress.training.workers import Strategy, join_workers

STEPS_PER_CALL = 16
"""Training steps per call into TensorFlow. More is no faster and makes the progress bar jumpy."""


def train(
    config: ClassifierConfig,
    records: Path,
    curves: Path,
    features: Path | None = None,
    checkpoint: Path | None = None,
) -> Any:
    """Trains a classifier on a split of records. Same arguments, same machine: same bits.

    Args:
        config: the architecture, the augmentation and the schedule.
        records: the folder of a split with n_train_samples examples.
        curves: a folder for DVCLive's learning curves: loss and accuracy per epoch.
        features: a parent pipeline's feature weights, loaded if config.pretrained_features.
        checkpoint: a .npz file for the state after each epoch. A killed training resumes from it.

    Returns:
        The trained classifier, see `build_classifier`; with several workers (see `workers.py`) only
        in the chief.

    Raises:
        FileNotFoundError: records are missing.
        PipelineError: records or weights do not fit the config, weights are missing, the loss
            became NaN or infinite, TF_CONFIG is malformed, or another worker was lost.
        SystemExit: the training is complete, and this worker is not the chief.
    """
    strategy = join_workers(config.batch_size)
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    with reading(records), strategy.reporting_lost_workers():
        with strategy.distribution.scope():
            classifier = _untrained(config, features)
        inputs = [config, *map(Path, read_lengths(records))]
        inputs += [features] if config.pretrained_features else []
        state = Checkpoint(checkpoint, strategy, classifier, inputs)
        with _live(curves) if strategy.is_chief else nullcontext() as live:
            history = state.restore()
            strategy.prepare(classifier)
            for logs in history:
                _log(live, logs)
            for logs in _epochs(classifier, config, records, strategy, len(history)):
                _log(live, logs)
                if not math.isfinite(logs["loss"]):
                    raise PipelineError(
                        f"{config.section}: training diverged (loss is {logs['loss']}). "
                        "Lower learning_rate"
                    )
                history.append(logs)
                state.save(history)
        state.remove()
    if not strategy.is_chief:
        sys.exit()
    trained = build_classifier(config)  # without the optimizer, which would triple the file
    trained.set_weights(classifier.get_weights())
    return trained


def _untrained(config: ClassifierConfig, features: Path | None) -> Any:
    """Builds and compiles the classifier, with its parent's features if the config says so."""
    classifier = build_classifier(config)
    extractor = classifier.get_layer("features")
    if config.pretrained_features:
        if features is None:
            raise PipelineError(
                f"{config.section}: pretrained_features is true, but this pipeline has no parent. "
                f"Set {config.section}.pretrained_features to false"
            )
        load_weights(extractor, features)
    elif config.freeze_features:
        raise PipelineError(
            f"{config.section}: freeze_features needs pretrained_features, otherwise the features "
            "stay random. Set both to true, or both to false"
        )
    extractor.trainable = not config.freeze_features
    classifier.compile(
        build_optimizer(config, _steps_per_epoch(config) * config.n_epochs),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    classifier.optimizer.build(classifier.trainable_variables)
    return classifier


def _epochs(
    classifier: Any, config: ClassifierConfig, records: Path, strategy: Strategy, n_done: int
) -> Iterator[dict[str, float]]:
    """Trains the remaining epochs; yields accuracy and loss of each, averaged over all workers."""
    distribution = strategy.distribution
    n_steps = _steps_per_epoch(config)
    stream = augmented(stream_batches(records, config), config, n_done * n_steps)
    # One endless iterator: creating one per epoch can take half as long as the epoch.
    batches = iter(strategy.own_rows(stream).prefetch(tf.data.AUTOTUNE))

    @tf.function  # type: ignore[untyped-decorator]
    def run_steps(batches: Any, n: Any) -> None:
        for _ in tf.range(n):
            distribution.run(classifier.train_step, args=(next(batches),))

    @tf.function  # type: ignore[untyped-decorator]
    def measure() -> Any:
        means = distribution.run(classifier.get_metrics_result)
        return {name: distribution.reduce("MEAN", mean, axis=None) for name, mean in means.items()}

    for epoch in range(n_done + 1, config.n_epochs + 1):
        classifier.reset_metrics()
        title = f"Epoch {epoch}/{config.n_epochs}"
        hidden = None if strategy.is_chief else True  # None hides it unless a terminal shows it
        with tqdm(desc=title, total=n_steps, leave=False, unit=" steps", disable=hidden) as bar:
            for start in range(0, n_steps, STEPS_PER_CALL):
                n = min(STEPS_PER_CALL, n_steps - start)
                run_steps(batches, tf.constant(n))
                bar.update(n)
        logs = {name: float(value) for name, value in measure().items()}
        if strategy.is_chief:
            print(f"{title}: accuracy {logs['accuracy']:.4f}, loss {logs['loss']:.4f}", flush=True)
        yield logs


def _steps_per_epoch(config: ClassifierConfig) -> int:
    return math.ceil(config.n_train_samples / config.batch_size)


def _live(curves: Path) -> Live:
    try:
        return Live(str(curves), dvcyaml=None, report=None, save_dvc_exp=False)
    except SCMError as error:  # the repository has no commit
        raise PipelineError(f"git: DVCLive needs a commit ({error}). Commit first") from error


def _log(live: Live | None, logs: dict[str, float]) -> None:
    if live is None:  # not the chief
        return
    for name in ("accuracy", "loss"):
        live.log_metric(name, round(logs[name], 6))
    live.next_step()
