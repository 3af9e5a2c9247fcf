"""Writes a Keras model as a TensorFlow.js layers model."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras

# The keys of each layer's config that inference needs. TensorFlow.js refuses other keys of Keras 3.
_KEYS = {
    "BatchNormalization": "axis epsilon center scale",
    "Conv2D": "filters kernel_size strides padding data_format dilation_rate activation use_bias",
    "Dense": "units activation use_bias",
    "Flatten": "",
    "MaxPooling2D": "pool_size strides padding data_format",
    "ReLU": "max_value",
}
_TRAINING_ONLY = ("Dropout", "InputLayer")


def write_layers_model(folder: Path, model: Any, metadata: Mapping[str, object]) -> None:
    """Writes model.json and weights.bin (float32) to an existing folder. Equal models, equal bytes.

    Nested Sequential models are flattened. The page reads `metadata` with
    `model.getUserDefinedMetadata()`.

    Raises:
        PipelineError: the model is not Sequential, or contains an unsupported layer.
    """
    layers: list[dict[str, object]] = []
    entries: list[dict[str, object]] = []
    weights = bytearray()
    for number, layer in enumerate(_flatten(model)):
        kind = type(layer).__name__
        if kind not in _KEYS:
            raise PipelineError(
                f"{model.name}: unsupported layer {layer.name} (got a {kind}). "
                "Add it to letterpress/web/tfjs.py"
            )
        config = layer.get_config()
        name = f"{number}_{kind.lower()}"  # flattened layers may have equal names
        known = {"name": name, **{key: config[key] for key in _KEYS[kind].split()}}
        if number == 0:
            known["batch_input_shape"] = model.input_shape  # instead of the InputLayer
        layers.append({"class_name": kind, "config": known})
        for variable in layer.weights:
            shape = list(variable.shape)
            entries.append({"name": f"{name}/{variable.name}", "shape": shape, "dtype": "float32"})
            weights += np.asarray(variable.value, "<f4").tobytes()  # little-endian everywhere
    topology = {"class_name": "Sequential", "config": {"name": model.name, "layers": layers}}
    description = {
        "format": "layers-model",
        "modelTopology": topology,
        "weightsManifest": [{"paths": ["weights.bin"], "weights": entries}],
        "userDefinedMetadata": metadata,
    }
    (folder / "weights.bin").write_bytes(weights)
    text = json.dumps(description, indent=1, allow_nan=False)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")


def _flatten(model: Any) -> Iterator[Any]:
    """Yields the layers used in inference, in order, including those of nested models."""
    if not isinstance(model, keras.Sequential):
        raise PipelineError(
            f"{model.name}: not a chain of layers (got a {type(model).__name__}). TensorFlow.js needs "
            "an architecture of keras.Sequential"
        )
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flatten(layer)
        elif type(layer).__name__ not in _TRAINING_ONLY:
            yield layer
