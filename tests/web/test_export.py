"""The exported model, and the packages that the page loads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras
from letterpress.model.network import build_classifier
from letterpress.web.export import export
from letterpress.web.tfjs import write_layers_model
from tests.model.test_weights import overflow
from tests.web.conftest import CONFIGS


def test_the_same_weights_give_the_same_bytes_and_bad_ones_change_nothing(
    random_model: Path, tmp_path: Path
) -> None:
    config, folder = CONFIGS["letters"], random_model / "letters"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert {path.name for path in before} == {"model.json", "weights.bin"}
    weights = random_model.with_name("letters.weights.h5")
    calibration = random_model.with_name("calibration.json")
    export(config, weights, calibration, folder)
    huge = overflow(build_classifier(config), tmp_path / "huge.weights.h5")
    with pytest.raises(PipelineError, match="expected finite probabilities"):
        export(config, huge, calibration, folder)
    with pytest.raises(PipelineError, match="missing"):
        export(config, Path("no.weights.h5"), calibration, folder)
    with pytest.raises(PipelineError, match="no such file"):
        export(config, weights, Path("no.json"), folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def build(*extra: Any) -> Any:
    inner = keras.Sequential(
        [keras.Input((None, None, 1)), keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()]
    )
    layers = [inner, keras.layers.Dropout(0.5), *extra, keras.layers.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers], name="small")


def test_nested_layers_become_one_chain_with_their_weights_in_order(tmp_path: Path) -> None:
    model = build(keras.layers.Conv2D(3, 3))
    for number, weight in enumerate(model.weights):
        weight.assign(np.full(weight.shape, number))
    write_layers_model(tmp_path, model, {"classes": ["a"]})
    written = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    layers = written["modelTopology"]["config"]["layers"]
    kinds = ["Conv2D", "BatchNormalization", "Conv2D", "Flatten"]
    assert [layer["class_name"] for layer in layers] == kinds
    assert len({layer["config"]["name"] for layer in layers}) == 4
    assert layers[0]["config"]["batch_input_shape"] == [None, 8, 8, 1]
    assert written["userDefinedMetadata"] == {"classes": ["a"]}
    (manifest,) = written["weightsManifest"]
    values = np.fromfile(tmp_path / manifest["paths"][0], "<f4")
    ordered = [
        weight for layer in (*model.layers[0].layers, model.layers[2]) for weight in layer.weights
    ]
    for entry, weight in zip(manifest["weights"], ordered, strict=True):
        own, values = np.split(values, [int(np.prod(entry["shape"]))])
        assert (entry["dtype"], entry["name"].split("/")[1]) == ("float32", weight.name)
        assert set(own) == {float(weight.numpy().flat[0])}
    assert len(values) == 0


def test_models_that_cannot_be_exported_are_refused(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    branched = keras.Model(inputs, keras.layers.add([keras.layers.Dense(4)(inputs), inputs]))
    unsupported = build(keras.layers.GlobalMaxPooling2D())
    for model, message in (
        (branched, r"not a chain of layers \(got a Functional\)"),
        (unsupported, "unsupported layer"),
    ):
        with pytest.raises(PipelineError, match=message):
            write_layers_model(tmp_path, model, {})
    assert [*tmp_path.iterdir()] == []
