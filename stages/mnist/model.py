"""The network: a feature extractor that children reuse, and the classifier on top of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import h5py

from stages.mnist.backend import keras, tf
from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError


def build_features(config: MnistConfig) -> Any:
    """Builds the feature extractor. Its weights do not depend on the size of the images.

    Returns:
        A model named "features" from images, float32 [batch, height, width, channels], of any height
        and width from 6, to features [batch, height // 2 - 2, width // 2 - 2, 64], float32 or, with
        config.dtype_policy mixed_bfloat16, bfloat16.
    """
    keras.config.set_dtype_policy(config.dtype_policy)
    layers = [
        keras.Input((None, None, config.n_channels)),
        keras.layers.Conv2D(32, 3, activation="relu"),  # h - 2, w - 2, 32
        keras.layers.Conv2D(64, 3),  # h - 4, w - 4, 64
        keras.layers.MaxPooling2D(2),  # h / 2 - 2, w / 2 - 2, 64
        keras.layers.ReLU(),  # after pooling it gives the same with a quarter of the work
        _batch_normalization(config),
    ]
    return keras.Sequential(layers, name="features")


def build_classifier(config: MnistConfig) -> Any:
    """Builds the classifier, its features included as the layer "features".

    Returns:
        A model from images, float32 0..1 [batch, image_height, image_width, n_channels], to
        probabilities, float32 [batch, n_classes], each row of sum 1.
    """
    keras.config.set_dtype_policy(config.dtype_policy)
    layers = [
        keras.Input(config.image_shape),
        build_features(config),
        Dropout(config.feature_dropout),
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        _batch_normalization(config),
        Dropout(config.dense_dropout),
        keras.layers.Dense(config.n_classes, activation="softmax", dtype="float32"),
    ]
    return keras.Sequential(layers, name="classifier")


class Dropout(keras.layers.Dropout):  # type: ignore[misc]
    """Keras's own, but what each of several workers leaves out are its rows of what one would leave out."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        context = tf.distribute.get_replica_context()
        n_parts = context.num_replicas_in_sync if context else 1
        if not training or not self.rate or n_parts == 1:
            return super().call(inputs, training=training)
        shape = tf.shape(inputs)
        whole = tf.ones(tf.concat([[shape[0] * n_parts], shape[1:]], 0), inputs.dtype)
        scales = keras.random.dropout(whole, self.rate, seed=self.seed_generator)
        return inputs * scales[context.replica_id_in_sync_group :: n_parts]


def _batch_normalization(config: MnistConfig) -> Any:
    """Normalizes by the whole batch, also where several workers have a part of it each."""
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    return keras.layers.BatchNormalization(
        momentum=config.batch_norm_momentum, synchronized=several
    )


def load_weights(model: Any, path: Path) -> None:
    """Loads all weights of `model` from a .weights.h5 file that the same architecture saved.

    Raises:
        PipelineError: the file is missing or damaged, or its weights are not exactly the model's.
    """
    if not path.is_file():
        raise PipelineError(f"{path} is missing: run `dvc repro`, it makes what a stage needs")
    try:
        # Keras passes over what a file has more than the model: compare all names and shapes first.
        with tempfile.TemporaryDirectory() as folder:
            own = Path(folder, "own.weights.h5")
            model.save_weights(own)
            expected, found = _shapes(own), _shapes(path)
        if found != expected:
            odd = min(name for name, _ in found.items() ^ expected.items())
            raise ValueError(
                f"{odd} has the shape {found.get(odd)} in the file, {expected.get(odd)} in the model"
            )
        model.load_weights(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{path}: not the weights of this {model.name} ({reason:.300}); "
            "delete the file and run `dvc repro`"
        ) from error


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array in an HDF5 file, by its name."""
    shapes = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                shapes.update({name: item.shape}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return shapes
