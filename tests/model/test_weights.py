from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras
from letterpress.mnist.config import MnistConfig
from letterpress.model.network import build_classifier, build_features
from letterpress.model.weights import load_features, load_weights

CONFIG = MnistConfig()


def bits(model: Any) -> list[bytes]:
    return [weights.tobytes() for weights in model.get_weights()]


def overflow(classifier: Any, path: Path) -> Path:
    """Saves weights each of which is accepted, but which together overflow."""
    for weight in classifier.weights:
        weight.assign(np.full(weight.shape, 0 if "variance" in weight.path else 9e5))
    classifier.save_weights(path)
    return path


def test_saved_weights_load_bit_by_bit(tmp_path: Path) -> None:
    saved, loaded = build_classifier(CONFIG), build_classifier(CONFIG)
    saved.save_weights(tmp_path / "a.weights.h5")
    assert bits(saved) != bits(loaded)
    load_weights(loaded, tmp_path / "a.weights.h5")
    assert bits(saved) == bits(loaded)


def test_features_load_into_a_classifier_of_another_image_size(tmp_path: Path) -> None:
    parent = build_classifier(CONFIG).get_layer("features")
    parent.save_weights(tmp_path / "features.weights.h5")
    larger = CONFIG.replace(image_height=32, image_width=36, n_classes=26)
    child = build_classifier(larger).get_layer("features")
    load_weights(child, tmp_path / "features.weights.h5")
    assert bits(child) == bits(parent)


def assert_refused(model: Any, path: Path, fragment: str) -> None:
    before = bits(model)
    with pytest.raises(PipelineError, match=fragment) as refused:
        load_weights(model, path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "dvc repro" in message
    assert "\n" not in message
    assert bits(model) == before


def test_missing_and_damaged_weights_are_refused(tmp_path: Path) -> None:
    path, model = tmp_path / "classifier.weights.h5", build_classifier(CONFIG)
    assert_refused(model, path, "missing")
    build_classifier(CONFIG).save_weights(path)
    content = path.read_bytes()
    damaged = [content[:kept] for kept in (0, 4, 1000, -1000, -1)]
    for other in [*damaged, b"<!DOCTYPE html><html>Not found</html>"]:
        path.write_bytes(other)
        assert_refused(model, path, "not the weights of this classifier")


@pytest.mark.parametrize("dtype", ["f8", "f2", ">f4", "i4", "u8", "?", "c8", "S4"])
def test_weights_that_are_not_float32_are_refused(tmp_path: Path, dtype: str) -> None:
    path, model = tmp_path / "features.weights.h5", build_features(CONFIG)
    model.save_weights(path)
    name = "layers/conv2d/vars/1"
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = np.zeros(16, dtype)
    assert_refused(model, path, f"{name} has dtype .*, expected float32")


def store(file: Any, **how: Any) -> None:
    del file["layers/conv2d/vars/1"]
    file.create_dataset("layers/conv2d/vars/1", (16,), "f4", **how)


def test_weights_that_are_not_finite_and_other_arrays_are_refused(tmp_path: Path) -> None:
    path, model = tmp_path / "features.weights.h5", build_features(CONFIG)
    edits: list[tuple[Callable[[Any], object], str]] = [
        (lambda file: file["layers/conv2d/vars/1"].write_direct(np.full(16, np.nan, "f4")), "NaN"),
        (lambda file: file["layers/conv2d/vars/1"].write_direct(np.full(16, np.inf, "f4")), "inf"),
        (lambda file: file.create_dataset("x", (1 << 50,), "f4", chunks=(1,)), "x has shape"),
        (lambda file: file["layers/conv2d/vars/1"].write_direct(np.full(16, 3e38, "f4")), "huge"),
        (lambda file: file.pop("layers/conv2d"), "no array has shape"),
        (lambda file: store(file, chunks=(16,), compression=1), "stored in chunks or in another"),
        (lambda file: store(file, external="/dev/zero"), "stored in chunks or in another file"),
        (lambda file: file.move("layers/conv2d", "layers/other"), "not the weights"),
    ]
    for edit, reason in edits:
        model.save_weights(path)
        with h5py.File(path, "r+") as file:
            edit(file)
        assert_refused(model, path, reason)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.weights.h5"
    classifier, features = build_classifier(CONFIG), build_features(CONFIG)
    changes: list[dict[str, Any]] = [{"n_classes": 11}, {"image_height": 32}]
    others = [build_classifier(CONFIG.replace(**change)) for change in changes]
    batch_norm = keras.layers.BatchNormalization
    deeper = [*classifier.layers, keras.layers.Dense(10)]
    shallower = [layer for layer in classifier.layers if not isinstance(layer, batch_norm)]
    others += [keras.Sequential(layers, name="classifier") for layers in (deeper, shallower)]
    for other in [*others, features]:
        other.save_weights(path)
        assert_refused(classifier, path, "has shape .* expected")
    classifier.save_weights(path)
    assert_refused(features, path, "not the weights of this features")


def test_features_of_grey_images_for_a_child_in_colour_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "features.weights.h5"
    build_features(CONFIG).save_weights(path)
    child = build_classifier(CONFIG.replace(n_channels=3)).get_layer("features")
    reason = r"images of 3 channels expected \(got 1\). Set n_channels of parent and child alike"
    with pytest.raises(PipelineError, match=reason):
        load_weights(child, path)


@pytest.mark.parametrize(("n_parent", "n_child"), [(1, 3), (3, 1), (1, 1)])
def test_features_of_a_grey_parent_fit_rgb_and_the_reverse(
    tmp_path: Path, n_parent: int, n_child: int
) -> None:
    path, config = tmp_path / "features.weights.h5", CONFIG.replace(n_channels=n_child)
    parent, child = build_features(CONFIG.replace(n_channels=n_parent)), build_features(config)
    parent.save_weights(path)
    if n_parent != n_child:
        with pytest.raises(PipelineError, match="match_channels to true"):
            load_features(child, path, config)
    load_features(child, path, config.replace(match_channels=True))
    grey = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    expected, found = (
        model(grey.repeat(n, axis=3)).numpy() for model, n in ((parent, n_parent), (child, n_child))
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    path.write_bytes(b"damaged")
    with pytest.raises(PipelineError, match="not the weights of this features"):
        load_features(child, path, config.replace(match_channels=True))
