"""A Keras model as TensorFlow.js reads it; what the browser computes with it is in test_page.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.mnist.backend import keras
from stages.mnist.errors import PipelineError
from stages.web.tfjs import write_layers_model


def build(*extra: Any) -> Any:
    inner = keras.Sequential(
        [keras.Input((None, None, 1)), keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()]
    )
    return keras.Sequential(
        [keras.Input((8, 8, 1)), inner, keras.layers.Dropout(0.5), *extra, keras.layers.Flatten()],
        name="small",
    )


def test_the_layers_are_one_chain_with_names_of_their_own(tmp_path: Path) -> None:
    write_layers_model(tmp_path, build(keras.layers.Conv2D(3, 3)), {"classes": ["a"]})
    written = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    config = written["modelTopology"]["config"]
    kinds = [layer["class_name"] for layer in config["layers"]]
    assert kinds == ["Conv2D", "BatchNormalization", "Conv2D", "Flatten"]
    assert len({layer["config"]["name"] for layer in config["layers"]}) == 4
    assert config["layers"][0]["config"]["batch_input_shape"] == [None, 8, 8, 1]
    assert written["userDefinedMetadata"] == {"classes": ["a"]}


def test_the_weights_stand_in_the_order_that_the_manifest_says(tmp_path: Path) -> None:
    model = build()
    for number, weight in enumerate(model.weights):
        weight.assign(np.full(weight.shape, number))
    write_layers_model(tmp_path, model, {})
    manifest = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))["weightsManifest"]
    values = np.fromfile(tmp_path / manifest[0]["paths"][0], "<f4")
    numbers = {weight.name: float(weight.numpy().flat[0]) for weight in model.weights}
    for entry in manifest[0]["weights"]:
        own, values = np.split(values, [int(np.prod(entry["shape"]))])
        assert entry["dtype"] == "float32"
        assert set(own) == {numbers[entry["name"].split("/")[1]]}
    assert len(values) == 0


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    weights = build().get_weights()
    written = []
    for name in ("one", "two"):
        model = build()  # Keras counts on: its layers have other names
        model.set_weights(weights)
        (tmp_path / name).mkdir()
        write_layers_model(tmp_path / name, model, {"sure": 0.9})
        written.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert written[0] == written[1]


def test_a_layer_that_is_not_known_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="a GlobalMaxPooling2D, is not known"):
        write_layers_model(tmp_path, build(keras.layers.GlobalMaxPooling2D()), {})
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_branches_is_an_error(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    outputs = keras.layers.add([keras.layers.Dense(4)(inputs), inputs])
    with pytest.raises(PipelineError, match="only a chain of layers"):
        write_layers_model(tmp_path, keras.Model(inputs, outputs), {})
