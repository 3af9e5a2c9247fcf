"""One short training after another, of the letters' network from one kind of start."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stages.mnist.backend import keras, tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import load_batches, reading
from stages.mnist.errors import PipelineError
from stages.mnist.model import build_classifier, load_weights
from stages.transfer.config import TransferConfig


class Split(NamedTuple):
    """A split in memory."""

    images: npt.NDArray[np.float32]
    """0..1 [n, height, width, channels]"""
    labels: npt.NDArray[np.int64]
    """0 .. n_classes - 1 [n]"""


def measure_accuracies(
    config: MnistConfig,
    transfer: TransferConfig,
    records: Path,
    features: Path,
    start: str,
    seed: int,
) -> list[float]:
    """Trains once for each of transfer.labels_per_class, on one thread.

    With one seed, all starts have the same letters in the same order, and the same random weights
    above the features. There is no augmentation, so that frozen features are computed once.

    Args:
        config: the network.
        transfer: the budget.
        records: the folder of the splits "train" and "unseen".
        features: the parent's feature weights.
        start: "scratch", "pretrained" or "frozen".
        seed: 0 .. n_seeds - 1.

    Returns:
        The accuracy of each training, 0..1, on letters of unseen typefaces.

    Raises:
        PipelineError: records or weights are missing, damaged or do not fit the config, or there
            are too few letters.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    train = load_split(records / "train", config, max(transfer.labels_per_class))
    unseen = load_split(records / "unseen", config, transfer.n_unseen_per_class)
    keras.utils.set_random_seed((config.seed + seed) % 2**32)
    trainer = Trainer(config, transfer, start, train, unseen, features)
    accuracies = []
    for n_labels in transfer.labels_per_class:
        random = np.random.default_rng([config.seed, seed, n_labels])
        n_steps = math.ceil(transfer.n_steps * math.sqrt(n_labels))
        batches = draw_batches(train.labels, n_labels, (n_steps, transfer.batch_size), random)
        accuracies.append(trainer.run(batches))
    return accuracies


def load_split(records: Path, config: MnistConfig, n_per_class: int) -> Split:
    """Loads the first n_per_class examples of each class.

    Raises:
        PipelineError: there are fewer, or the records are missing, damaged or of another shape than
            the config says.
    """
    nothing = np.empty((0, *config.image_shape), np.float32), np.empty(0, np.int64)
    with reading(records):
        batches = [nothing, *load_batches(records, config).as_numpy_iterator()]
    images, labels = (np.concatenate([batch[part] for batch in batches]) for part in (0, 1))
    classes = [np.flatnonzero(labels == label)[:n_per_class] for label in range(config.n_classes)]
    n_found = min(map(len, classes))
    if n_found < n_per_class:
        raise PipelineError(
            f"{records} has {n_found} letters of some class, the section transfer of params.yaml "
            f"asks for {n_per_class}: lower labels_per_class or n_unseen_per_class"
        )
    chosen = np.sort(np.concatenate(classes))
    return Split(images[chosen], labels[chosen])


def draw_batches(
    labels: npt.NDArray[np.int64],
    n_labels: int,
    shape: tuple[int, int],
    random: np.random.Generator,
) -> npt.NDArray[np.intp]:
    """Draws n_labels examples of each class, and puts them into batches, pass after pass.

    Returns:
        Indices of examples, in the shape (n_steps, batch_size) that is asked for.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    subset = np.concatenate([random.choice(one, n_labels, replace=False) for one in classes])
    passes = [random.permutation(subset) for _ in range(-(-math.prod(shape) // len(subset)))]
    return np.resize(np.concatenate(passes), shape)


class Trainer:
    """A network that is compiled once and trained again and again from the same start.

    The function `train` of the pipelines would compile it anew for each short training.
    """

    def __init__(
        self,
        config: MnistConfig,
        transfer: TransferConfig,
        start: str,
        train: Split,
        test: Split,
        features: Path,
    ) -> None:
        """Builds the network, with random weights by Keras's seed; "scratch" leaves `features` aside."""
        self.train, self.test = train, test
        self.model = build_classifier(config)
        extractor = self.model.get_layer("features")
        if start != "scratch":
            load_weights(extractor, features)
        if start == "frozen":  # the layers above the features, on features computed once
            self.train, self.test = (
                Split(_apply(extractor, split.images), split.labels) for split in (train, test)
            )
            shape = self.train.images.shape[1:]
            self.model = keras.Sequential([keras.Input(shape), *self.model.layers[1:]])
        self.rate = transfer.learning_rate
        self.optimizer = keras.optimizers.Adam()
        self.model.compile(self.optimizer, loss="sparse_categorical_crossentropy")
        self.optimizer.build(self.model.trainable_variables)
        # The state of dropout's random numbers is among the model's variables.
        self._variables = [*self.model.variables, *self.optimizer.variables]
        self._initial = [variable.numpy() for variable in self._variables]

    def run(self, batches: npt.NDArray[np.intp]) -> float:
        """Trains from the start, a step a batch of indices; returns the test accuracy, 0..1.

        Raises:
            PipelineError: the loss grew beyond all numbers.
        """
        for variable, value in zip(self._variables, self._initial, strict=True):
            variable.assign(value)
        for step, batch in enumerate(batches):
            cosine = math.cos(math.pi * step / len(batches))
            self.optimizer.learning_rate.assign(self.rate * (1 + cosine) / 2)
            loss = self.model.train_on_batch(self.train.images[batch], self.train.labels[batch])
            if not math.isfinite(loss):
                raise PipelineError(
                    "transfer: a training diverged, its loss is no number: "
                    "lower transfer.learning_rate in params.yaml"
                )
        predicted = _apply(self.model, self.test.images).argmax(axis=1)
        return float(np.mean(predicted == self.test.labels))


def _apply(model: Any, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    chunks = np.array_split(images, -(-len(images) // 256))
    return np.concatenate([model(chunk, training=False).numpy() for chunk in chunks])
