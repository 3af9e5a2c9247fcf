"""Trains the network of the letters many times, briefly, from one kind of start."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras, tf
from letterpress.model.network import build_classifier
from letterpress.model.weights import load_weights
from letterpress.records.read import load_batches, reading
from letterpress.transfer.config import TransferConfig

Labels = npt.NDArray[np.int64]
Batches = npt.NDArray[np.intp]


class Split(NamedTuple):
    """A split in memory."""

    images: npt.NDArray[np.float32]
    """0..1 [n, height, width, channels], or their features."""
    labels: Labels
    """0 .. n_classes - 1 [n]"""


def measure_accuracies(
    config: ClassifierConfig,
    transfer: TransferConfig,
    records: Path,
    features: Path,
    start: str,
    seed: int,
) -> list[float]:
    """Trains once per number in transfer.labels_per_class; returns accuracies on unseen letters.

    With the same seed, all starts get the same letters in the same order and the same random
    weights above the features. Without augmentation, frozen features are computed only once.

    Raises:
        PipelineError: records or weights are missing, damaged or do not fit the config, there are
            too few letters, or a training diverged.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    train = load_split(records / "train", config, max(transfer.labels_per_class))
    unseen = load_split(records / "unseen", config, transfer.n_unseen_per_class)
    keras.utils.set_random_seed((config.seed + seed) % 2**32)
    model, train, unseen = prepare(config, start, features, train, unseen)
    runs = []
    for n_labels in transfer.labels_per_class:
        random = np.random.default_rng([config.seed, seed, n_labels])
        n_steps = math.ceil(transfer.n_steps * math.sqrt(n_labels))
        shape = n_steps, transfer.batch_size
        runs.append(draw_batches(train.labels, n_labels, shape, random))
    return list(train_each(model, transfer.learning_rate, runs, train, unseen))


def load_split(records: Path, config: ClassifierConfig, n_per_class: int) -> Split:
    """Loads the first n_per_class examples of each class; fails if there are fewer."""
    nothing = np.empty((0, *config.image_shape), np.float32), np.empty(0, np.int64)
    with reading(records):
        batches = [nothing, *load_batches(records, config).as_numpy_iterator()]
    images, labels = (np.concatenate([batch[part] for batch in batches]) for part in (0, 1))
    classes = [np.flatnonzero(labels == label)[:n_per_class] for label in range(config.n_classes)]
    n_found = min(map(len, classes))
    if n_found < n_per_class:
        raise PipelineError(
            f"{records}: {n_per_class} letters per class needed (got {n_found}). "
            "Lower transfer.labels_per_class or transfer.n_unseen_per_class in params.yaml"
        )
    chosen = np.sort(np.concatenate(classes))
    return Split(images[chosen], labels[chosen])


def draw_batches(
    labels: Labels, n_labels: int, shape: tuple[int, int], random: np.random.Generator
) -> Batches:
    """Draws n_labels examples per class, shuffled again in each pass: indices of that shape."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    subset = np.concatenate([random.choice(one, n_labels, replace=False) for one in classes])
    n_passes = math.ceil(math.prod(shape) / len(subset))
    passes = [random.permutation(subset) for _ in range(n_passes)]
    return np.resize(np.concatenate(passes), shape)


def prepare(
    config: ClassifierConfig, start: str, features: Path, train: Split, unseen: Split
) -> tuple[Any, Split, Split]:
    """Builds the model to train; for "frozen", only the layers above the features, on features."""
    model = build_classifier(config)
    extractor = model.get_layer("features")
    if start != "scratch":
        load_weights(extractor, features)
    if start == "frozen":
        train, unseen = (Split(_apply(extractor, s.images), s.labels) for s in (train, unseen))
        model = keras.Sequential([keras.Input(train.images.shape[1:]), *model.layers[1:]])
    return model, train, unseen


def train_each(
    model: Any, learning_rate: float, runs: Iterable[Batches], train: Split, test: Split
) -> Iterator[float]:
    """Trains a model once per run, always from the same initial state: a step per row of indices.

    Yields:
        The accuracy on `test` after each run, 0..1.
    """
    optimizer = keras.optimizers.Adam()
    model.compile(optimizer, loss="sparse_categorical_crossentropy")
    optimizer.build(model.trainable_variables)
    # The model's variables include the random state of dropout.
    variables = [*model.variables, *optimizer.variables]
    initial = [variable.numpy() for variable in variables]
    for batches in runs:
        for variable, value in zip(variables, initial, strict=True):
            variable.assign(value)
        for step, batch in enumerate(batches):
            cosine = math.cos(math.pi * step / len(batches))
            optimizer.learning_rate.assign(learning_rate * (1 + cosine) / 2)
            loss = model.train_on_batch(train.images[batch], train.labels[batch])
            if not math.isfinite(loss):
                raise PipelineError(
                    f"transfer: training diverged (loss is {loss}). "
                    "Lower transfer.learning_rate in params.yaml"
                )
        predicted = _apply(model, test.images).argmax(axis=1)
        yield float(np.mean(predicted == test.labels))


def _apply(model: Any, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    chunks = np.array_split(images, math.ceil(len(images) / 256))
    return np.concatenate([model(chunk, training=False).numpy() for chunk in chunks])
