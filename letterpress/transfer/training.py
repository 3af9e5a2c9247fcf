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
from letterpress.training.augmentation import augment
from letterpress.training.optimizer import Adam
from letterpress.transfer.config import TransferConfig

Labels = npt.NDArray[np.int64]
Batches = npt.NDArray[np.intp]


class Split(NamedTuple):
    """A split in memory."""

    images: npt.NDArray[np.float32]
    """0..1 [n, height, width, channels]."""
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
    """Trains once per number in transfer.labels_per_class; returns accuracies on transfer.split.

    With the same seed, all starts get the same letters in the same order, the same augmentation and
    the same random weights above the features.

    Raises:
        PipelineError: records or weights are missing, damaged or do not fit the config, there are
            too few letters, or a training diverged.
    """
    # One training per core, in processes of their own, is faster than one on all cores.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    train = load_split(records / "train", config, None)
    test = load_split(records / transfer.split, config, transfer.n_test_per_class)
    # Keras accepts seeds up to 2**32 - 1. Images of no class are left out of the comparison.
    config = config.replace(seed=(config.seed + seed) % 2**32, none_share=0.0)
    keras.utils.set_random_seed(config.seed)
    model = build_model(config, start, features)
    runs = []
    for n_labels in transfer.labels_per_class:
        random = np.random.default_rng([config.seed, n_labels])
        n_steps = math.ceil(transfer.n_steps * math.sqrt(n_labels))
        shape = n_steps, transfer.batch_size
        runs.append(draw_batches(train.labels, n_labels, shape, random))
    return list(train_each(model, config, transfer.learning_rate, runs, train, test))


def load_split(records: Path, config: ClassifierConfig, n_per_class: int | None) -> Split:
    """Loads the images of the classes: all, or the first n_per_class of each; fails if fewer."""
    # A split without records has no batches, and nothing to concatenate.
    nothing = np.empty((0, *config.image_shape), np.float32), np.empty(0, np.int64)
    with reading(records):
        batches = [nothing, *load_batches(records, config).as_numpy_iterator()]
    images, labels = (np.concatenate([batch[part] for batch in batches]) for part in (0, 1))
    classes = [np.flatnonzero(labels == label)[:n_per_class] for label in range(config.n_classes)]
    n_found = min(map(len, classes))
    if n_found < (n_per_class or 1):
        raise PipelineError(
            f"{records}: {n_per_class or 1} letters per class needed (got {n_found}). "
            "Lower transfer.n_test_per_class in params.yaml"
        )
    chosen = np.sort(np.concatenate(classes))
    return Split(images[chosen], labels[chosen])


def draw_batches(
    labels: Labels, n_labels: int, shape: tuple[int, int], random: np.random.Generator
) -> Batches:
    """Draws n_labels examples per class, shuffled again in each pass: indices of that shape.

    Raises:
        PipelineError: a class has fewer examples.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if n_labels > min(map(len, classes)):
        raise PipelineError(
            f"transfer: {n_labels} letters per class needed (got {min(map(len, classes))}). "
            "Lower transfer.labels_per_class in params.yaml"
        )
    subset = np.concatenate([random.choice(one, n_labels, replace=False) for one in classes])
    n_passes = math.ceil(math.prod(shape) / len(subset))
    passes = [random.permutation(subset) for _ in range(n_passes)]
    return np.resize(np.concatenate(passes), shape)  # cuts the last pass


def build_model(config: ClassifierConfig, start: str, features: Path) -> Any:
    """Builds the classifier to train; "frozen" does not train its features."""
    model = build_classifier(config)
    extractor = model.get_layer("features")
    if start != "scratch":
        load_weights(extractor, features)
    if start == "frozen":
        extractor.trainable = False
    return model


def train_each(
    model: Any,
    config: ClassifierConfig,
    learning_rate: float,
    runs: Iterable[Batches],
    train: Split,
    test: Split,
) -> Iterator[float]:
    """Trains a model once per run, always from the same initial state: a step per row of indices.

    Images are augmented as `config` says.

    Yields:
        The accuracy on `test` after each run, 0..1.
    """
    optimizer = Adam()
    model.compile(optimizer, loss="sparse_categorical_crossentropy")
    optimizer.build(model.trainable_variables)
    images, labels = tf.constant(train.images), tf.constant(train.labels)

    # One graph for all runs; a Keras schedule would need one per number of steps.
    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int64)])  # type: ignore[untyped-decorator]
    def run(batches: Any) -> Any:
        n_steps, loss = tf.shape(batches)[0], 0.0
        for step in tf.range(n_steps):
            done = tf.cast(step, tf.float32) / tf.cast(n_steps, tf.float32)
            optimizer.learning_rate.assign(learning_rate * (1 + tf.cos(math.pi * done)) / 2)
            batch = batches[step]
            augmented = augment(tf.gather(images, batch), tf.cast(step, tf.int64), config)
            loss = model.train_step((augmented, tf.gather(labels, batch)))["loss"]
        return loss

    classify = tf.function(lambda images: tf.argmax(model(images, training=False), axis=1))
    # The model's variables include the random state of dropout and the mean of the loss.
    variables = [*model.variables, *model.metrics_variables, *optimizer.variables]
    initial = [variable.numpy() for variable in variables]
    for batches in runs:
        for variable, value in zip(variables, initial, strict=True):
            variable.assign(value)
        loss = float(run(tf.constant(batches, tf.int64)))
        if not math.isfinite(loss):
            raise PipelineError(
                f"transfer: training diverged (loss is {loss}). "
                "Lower transfer.learning_rate in params.yaml"
            )
        chunks = np.array_split(test.images, math.ceil(len(test.images) / 256))
        predicted = np.concatenate([classify(tf.constant(chunk)).numpy() for chunk in chunks])
        yield float(np.mean(predicted == test.labels))
