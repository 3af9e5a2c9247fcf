"""The one training function of all pipelines."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from dvclive import Live
from scmrepo.exceptions import SCMError
from tqdm import tqdm

from letterpress.core.config import STANDARD, ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras, tf
from letterpress.model.network import build_classifier
from letterpress.model.weights import load_features
from letterpress.records.read import load_batches, read_lengths, reading, stream_batches
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
    """Trains a classifier on records. Same arguments, same machine: same bits.

    Args:
        config: the architecture, the augmentation and the schedule.
        records: a folder with the split "train" and, unless config needs none, "validation".
        curves: a folder for DVCLive's learning curves: loss and accuracy per epoch and split.
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
    with strategy.reporting_lost_workers():
        with strategy.distribution.scope():
            classifier = _untrained(config, features, _steps_per_epoch(config, records))
        inputs = [config, *map(Path, read_lengths(records / "train"))]
        inputs += [features] if config.pretrained_features else []
        inputs += [Path(config.architecture)] if config.architecture != STANDARD else []
        state = Checkpoint(checkpoint, strategy, classifier, inputs)
        with _live(curves) if strategy.is_chief else nullcontext() as live:
            history = state.restore()
            # Only now: restoring gives all workers the chief's random state.
            strategy.prepare(classifier)
            # The folder of the curves is new: log the epochs before the interruption again.
            for logs in history:
                _log(live, logs)
            for logs in _epochs(classifier, config, records, strategy, history):
                if odd := [key for key, value in logs.items() if not math.isfinite(value)]:
                    raise PipelineError(
                        f"{config.section}: training diverged ({odd[0].replace('_', ' ')} is "
                        f"{logs[odd[0]]}). Lower learning_rate"
                    )
                _log(live, logs)
                history.append(logs)
                if config.keep == "best" and _best_epoch(history) == len(history):
                    state.best = classifier.get_weights()
                state.save(history)
        state.remove()
    if not strategy.is_chief:
        sys.exit()
    trained = build_classifier(config)  # without the optimizer, which would triple the file
    trained.set_weights(state.best or classifier.get_weights())
    return trained


def _best_epoch(history: Sequence[dict[str, float]]) -> int:
    """Returns the number of the epoch with the lowest validation loss, from 1; before any, the last."""
    measured = {n: logs for n, logs in enumerate(history, 1) if "validation_loss" in logs}
    return min(measured, key=lambda n: measured[n]["validation_loss"], default=len(history))


def _untrained(config: ClassifierConfig, features: Path | None, n_steps: int) -> Any:
    """Builds and compiles the classifier, with its parent's features if the config says so."""
    classifier = build_classifier(config)
    extractor = classifier.get_layer("features")
    if config.pretrained_features:
        if features is None:
            raise PipelineError(
                f"{config.section}: pretrained_features is true, but this pipeline has no parent. "
                f"Set {config.section}.pretrained_features to false"
            )
        load_features(extractor, features, config)
    elif config.freeze_features:
        raise PipelineError(
            f"{config.section}: freeze_features needs pretrained_features, otherwise the features "
            "stay random. Set both to true, or both to false"
        )
    if config.freeze_features:  # else the architecture may have frozen some layers itself
        extractor.trainable = False
    classifier.compile(
        build_optimizer(config, n_steps * config.n_epochs),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    # Creates the optimizer's variables before the first step: the checkpoint needs them.
    classifier.optimizer.build(classifier.trainable_variables)
    # And the metrics' variables: TensorFlow traces a step twice if it creates variables.
    classifier.compute_metrics(None, tf.zeros(1, tf.int64), tf.ones((1, config.n_outputs)))
    return classifier


def _epochs(
    classifier: Any,
    config: ClassifierConfig,
    records: Path,
    strategy: Strategy,
    history: Sequence[dict[str, float]],
) -> Iterator[dict[str, float]]:
    """Trains the epochs after those in `history`, to which the caller adds what this yields.

    Yields:
        Accuracy and loss of an epoch, averaged over all workers, and those on the validation split
        in each config.validation_freq-th epoch and the last.
    """
    distribution = strategy.distribution
    n_steps = _steps_per_epoch(config, records)
    stream = stream_batches(records / "train", config)
    stream = augmented(stream, config, len(history) * n_steps)
    if config.class_weights == "balanced":
        weights = balanced_weights(records / "train", config)
        stream = stream.map(lambda images, labels: (images, labels, tf.gather(weights, labels)))
    # One endless iterator: creating one per epoch can take half as long as the epoch.
    batches = iter(strategy.own_rows(stream).prefetch(tf.data.AUTOTUNE))
    validation = _load_validation(records / "validation", config)

    @tf.function  # type: ignore[untyped-decorator]
    def run_steps(batches: Any, n: Any) -> None:
        for _ in tf.range(n):
            distribution.run(classifier.train_step, args=(next(batches),))

    @tf.function  # type: ignore[untyped-decorator]
    def validate() -> Any:
        # Each worker measures the whole split: the mean equals each result.
        return distribution.reduce(
            "MEAN", distribution.run(_measure, (classifier, validation)), axis=None
        )

    @tf.function  # type: ignore[untyped-decorator]
    def measure() -> Any:
        means = distribution.run(classifier.get_metrics_result)
        return {name: distribution.reduce("MEAN", mean, axis=None) for name, mean in means.items()}

    for epoch in range(len(history) + 1, config.n_epochs + 1):
        if config.patience and epoch - 1 - _best_epoch(history) >= config.patience:
            return
        classifier.reset_metrics()
        title = f"Epoch {epoch}/{config.n_epochs}"
        hidden = None if strategy.is_chief else True  # None hides it unless a terminal shows it
        with (
            reading(records / "train"),
            strategy.reporting_lost_workers(),  # before `reading` takes it for damage
            tqdm(desc=title, total=n_steps, leave=False, unit=" steps", disable=hidden) as bar,
        ):
            for start in range(0, n_steps, STEPS_PER_CALL):
                n = min(STEPS_PER_CALL, n_steps - start)
                # A tensor: a Python int would be traced again for each value.
                run_steps(batches, tf.constant(n))
                bar.update(n)
        logs = {name: float(value) for name, value in measure().items()}
        is_due = epoch % config.validation_freq == 0 or epoch == config.n_epochs
        if validation is not None and is_due:
            with reading(records / "validation"), strategy.reporting_lost_workers():
                accuracy, loss = map(float, validate())
            logs |= {"validation_accuracy": accuracy, "validation_loss": loss}
        if strategy.is_chief:
            shown = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in logs.items()]
            print(f"{title}: {', '.join(shown)}", flush=True)
        yield logs


def balanced_weights(records: Path, config: ClassifierConfig) -> Any:
    """Returns weights with the same sum over the images of each class, of mean 1 over all images.

    float32 [n_outputs]; 0 for a class without images.
    """
    counts = np.zeros(config.n_outputs, np.int64)
    with reading(records):
        for _, labels, _ in load_batches(records, config).as_numpy_iterator():
            # Not by TensorFlow, whose bincount is not deterministic on a GPU.
            counts += np.bincount(labels, minlength=config.n_outputs)
    counts = tf.cast(counts, tf.float32)
    n_classes = tf.math.count_nonzero(counts, dtype=tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(counts) / n_classes, counts)


def _load_validation(records: Path, config: ClassifierConfig) -> Any:
    """Loads the validation split; None if it has no images and the config needs none."""
    if 0 < config.patience < config.validation_freq:
        raise PipelineError(
            f"{config.section}: patience ends the training before the next measurement (got "
            f"{config.patience}). Use at least validation_freq, {config.validation_freq}"
        )
    if records.exists() and any(read_lengths(records).values()):
        return load_batches(records, config).cache()
    if config.keep == "best" or config.patience:
        raise PipelineError(
            f"{records}: no images, but keep is best or patience is above 0. Write a validation "
            "split, or set keep: last and patience: 0"
        )
    return None


def _measure(classifier: Any, batches: Any) -> Any:
    """Returns accuracy and mean cross-entropy (nats) of a classifier: float32 [2]."""
    total, n = tf.zeros(2), tf.constant(0.0)
    for images, labels, _ in batches:
        probabilities = classifier(images, training=False)
        correct = tf.cast(tf.argmax(probabilities, axis=1) == labels, tf.float32)
        losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        total += tf.stack([tf.reduce_sum(correct), tf.reduce_sum(losses)])
        n += tf.cast(tf.size(labels), tf.float32)
    return total / n


def _steps_per_epoch(config: ClassifierConfig, records: Path) -> int:
    return math.ceil(sum(read_lengths(records / "train").values()) / config.batch_size)


def _live(curves: Path) -> Live:
    try:
        # By default, DVCLive would edit dvc.yaml, and save an experiment if DVC does not run this.
        return Live(str(curves), dvcyaml=None, report=None, save_dvc_exp=False)
    except SCMError as error:  # the repository has no commit
        raise PipelineError(f"git: DVCLive needs a commit ({error}). Commit first") from error


def _log(live: Live | None, logs: dict[str, float]) -> None:
    if live is None:  # not the chief
        return
    for name, value in logs.items():
        live.log_metric(name, round(value, 6))
    live.next_step()
