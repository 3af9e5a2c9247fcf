"""Writes a Keras model for TensorFlow.js, as what it calls a layers model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.mnist.backend import keras
from stages.mnist.errors import PipelineError

# What inference needs of a layer's config, by its class; TensorFlow.js does not know Keras 3's other keys.
_KEYS = {
    "BatchNormalization": ("axis", "epsilon", "center", "scale"),
    "Conv2D": (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "data_format",
        "dilation_rate",
        "activation",
        "use_bias",
    ),
    "Dense": ("units", "activation", "use_bias"),
    "Flatten": (),
    "MaxPooling2D": ("pool_size", "strides", "padding", "data_format"),
    "ReLU": ("max_value",),
}
_NOTHING_TO_DO = ("Dropout", "InputLayer")
"""Layers without a part in inference."""


def write_layers_model(folder: Path, model: Any, metadata: Mapping[str, object]) -> None:
    """Writes folder/model.json and folder/weights.bin, all float32. The same model gives the same bytes.

    Args:
        folder: it exists.
        model: a Keras Sequential, with Sequentials in it if it likes; they are opened up.
        metadata: what the page reads with `model.getUserDefinedMetadata()`.

    Raises:
        PipelineError: the model is no chain of layers, or has a layer that is not known here.
    """
    layers: list[dict[str, object]] = []
    entries: list[dict[str, object]] = []
    weights = bytearray()
    for number, layer in enumerate(_chain(model)):
        kind = type(layer).__name__
        if kind not in _KEYS:
            raise PipelineError(
                f"{model.name}: how TensorFlow.js writes the layer {layer.name}, a {kind}, is not "
                "known: add it to stages/web/tfjs.py"
            )
        config = layer.get_config()
        # Names must be unique in all of the model: it has no nested ones any more.
        known = {"name": f"{number}_{kind.lower()}", **{key: config[key] for key in _KEYS[kind]}}
        if number == 0:
            known["batch_input_shape"] = model.input_shape
        layers.append({"class_name": kind, "config": known})
        for variable in layer.weights:
            name = f"{known['name']}/{variable.name}"  # kernel, bias, gamma, moving_mean, ...
            entries.append({"name": name, "shape": list(variable.shape), "dtype": "float32"})
            weights += np.asarray(variable.value, "<f4").tobytes()
    description = {
        "format": "layers-model",
        "modelTopology": {
            "class_name": "Sequential",
            "config": {"name": model.name, "layers": layers},
        },
        "weightsManifest": [{"paths": ["weights.bin"], "weights": entries}],
        "userDefinedMetadata": metadata,
    }
    (folder / "weights.bin").write_bytes(weights)
    (folder / "model.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def _chain(model: Any) -> Iterator[Any]:
    """Yields the layers that take part in inference, in order, those of models inside too."""
    if not isinstance(model, keras.Sequential):
        raise PipelineError(
            f"{model.name}: only a chain of layers, a keras.Sequential, can be written"
        )
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _chain(layer)
        elif type(layer).__name__ not in _NOTHING_TO_DO:
            yield layer
