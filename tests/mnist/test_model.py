from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.mnist.backend import keras
from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError
from stages.mnist.model import Dropout, build_classifier, build_features, load_weights


@pytest.fixture
def config(project: Path) -> MnistConfig:
    return MnistConfig.from_yaml(project / "params.yaml")


def bits(model: Any) -> list[bytes]:
    return [weights.tobytes() for weights in model.get_weights()]


def same_outputs(one: Any, other: Any, config: MnistConfig) -> bool:
    images = np.random.default_rng(0).random((2, *config.image_shape), dtype=np.float32)
    return np.array_equal(one(images), other(images))


@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (29, 31), (6, 7), (40, 8)])
def test_features_have_the_documented_shape(config: MnistConfig, height: int, width: int) -> None:
    images = np.zeros((3, height, width, 1), np.float32)
    features = build_features(config)(images)
    assert features.shape == (3, height // 2 - 2, width // 2 - 2, 64)


def test_features_of_color_images_take_three_channels(config: MnistConfig) -> None:
    features = build_features(replace(config, n_channels=3))
    assert features(np.zeros((1, 28, 28, 3), np.float32)).shape == (1, 12, 12, 64)


def test_a_classifier_has_the_features_as_a_layer_of_that_name(config: MnistConfig) -> None:
    layer = build_classifier(config).get_layer("features")
    assert [w.shape for w in layer.weights] == [w.shape for w in build_features(config).weights]


def test_the_rows_of_a_classifier_are_probabilities(config: MnistConfig) -> None:
    images = np.random.default_rng(0).random((5, 28, 28, 1), dtype=np.float32)
    probabilities = np.asarray(build_classifier(config)(images))
    assert probabilities.shape == (5, 10)
    assert probabilities.dtype == np.float32
    assert probabilities.min() > 0
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "n"),
    [
        ({}, 1_200_650),
        ({"n_classes": 26}, 1_200_650 + 16 * (128 + 1)),
        ({"n_channels": 3}, 1_200_650 + 2 * 9 * 32),
        ({"image_height": 32, "image_width": 32}, 1_200_650 + (14**2 - 12**2) * 64 * 128),
    ],
)
def test_the_number_of_parameters_is_known(
    config: MnistConfig, change: dict[str, Any], n: int
) -> None:
    assert build_classifier(replace(config, **change)).count_params() == n


def test_the_number_of_parameters_of_the_features_is_known(config: MnistConfig) -> None:
    assert build_features(config).count_params() == 19_072


def test_the_momentum_is_that_of_the_params(config: MnistConfig) -> None:
    """One step moves each mean, which is 0 in a fresh layer, by 1 - momentum."""
    images = np.random.default_rng(0).random((4, 28, 28, 1), dtype=np.float32)
    means = {}
    for momentum in (0.0, 0.75):
        keras.utils.set_random_seed(0)
        model = build_classifier(
            replace(config, batch_norm_momentum=momentum, feature_dropout=0, dense_dropout=0)
        )
        model(images, training=True)
        means[momentum] = [
            weights.numpy() for weights in model.weights if weights.path.endswith("moving_mean")
        ]
    assert len(means[0.0]) == 2  # of the features, and of the dense layer
    for slow, fast in zip(means[0.75], means[0.0], strict=True):
        np.testing.assert_allclose(slow, 0.25 * fast, rtol=1e-4)
        assert np.abs(fast).max() > 0


def test_the_layers_compute_in_the_type_of_the_params_and_weights_are_float32(
    config: MnistConfig,
) -> None:
    images = np.random.default_rng(0).random((4, 28, 28, 1), dtype=np.float32)
    mixed = build_classifier(replace(config, dtype_policy="mixed_bfloat16"))
    full = build_classifier(config)
    full.set_weights(mixed.get_weights())
    assert {weights.dtype for weights in mixed.weights} == {"float32"}
    assert mixed.get_layer("features")(images).dtype == "bfloat16"
    assert full.get_layer("features")(images).dtype == "float32"
    exact, rounded = np.asarray(full(images)), np.asarray(mixed(images))
    assert exact.dtype == rounded.dtype == np.float32
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, atol=0.02)


@pytest.mark.parametrize("key", ["feature_dropout", "dense_dropout"])
def test_dropout_works_in_training_only(config: MnistConfig, key: str) -> None:
    images = np.random.default_rng(0).random((4, 28, 28, 1), dtype=np.float32)
    none: dict[str, Any] = {"feature_dropout": 0.0, "dense_dropout": 0.0}
    still = build_classifier(replace(config, **none))
    moving = build_classifier(replace(config, **(none | {key: 0.5})))
    for model, differs in ((still, False), (moving, True)):
        one, other = (np.asarray(model(images, training=True)) for _ in range(2))
        assert (not np.array_equal(one, other)) == differs
        np.testing.assert_array_equal(model(images), model(images))


def test_each_of_several_replicas_leaves_out_its_rows_of_what_one_leaves_out() -> None:
    rows = np.random.default_rng(0).random((6, 5, 4), dtype=np.float32)

    def dropped(context: Any, part: slice) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stages.mnist.model.tf.distribute.get_replica_context", lambda: context)
            return np.asarray(Dropout(0.5, seed=3)(rows[part], training=True))

    whole = dropped(None, slice(None))
    assert 0.2 < np.mean(whole == 0) < 0.8
    for index in range(3):
        context = SimpleNamespace(num_replicas_in_sync=3, replica_id_in_sync_group=index)
        part = slice(index, None, 3)
        np.testing.assert_array_equal(dropped(context, part), whole[part])


def test_saved_weights_come_back_to_the_bit(config: MnistConfig, tmp_path: Path) -> None:
    saved, loaded = build_classifier(config), build_classifier(config)
    saved.save_weights(tmp_path / "a.weights.h5")
    assert bits(saved) != bits(loaded)
    load_weights(loaded, tmp_path / "a.weights.h5")
    assert bits(saved) == bits(loaded)
    assert same_outputs(saved, loaded, config)


def test_features_of_one_image_size_serve_another(config: MnistConfig, tmp_path: Path) -> None:
    parent = build_classifier(config).get_layer("features")
    parent.save_weights(tmp_path / "features.weights.h5")
    larger = replace(config, image_height=32, image_width=36, n_classes=26)
    child = build_classifier(larger).get_layer("features")
    load_weights(child, tmp_path / "features.weights.h5")
    assert bits(child) == bits(parent)


def refusal(model: Any, path: Path) -> str:
    """What is said of weights that do not fit, in one line that begins with their path."""
    with pytest.raises(PipelineError) as refused:
        load_weights(model, path)
    message = str(refused.value)
    assert message.startswith(str(path))
    assert "dvc repro" in message
    assert "\n" not in message
    return message


@pytest.fixture
def path(config: MnistConfig, tmp_path: Path) -> Path:
    """The weights of a classifier."""
    path = tmp_path / "classifier.weights.h5"
    build_classifier(config).save_weights(path)
    return path


def test_missing_weights_are_named_with_their_remedy(config: MnistConfig, tmp_path: Path) -> None:
    path = tmp_path / "missing.weights.h5"
    assert "is missing" in refusal(build_features(config), path)


@pytest.mark.parametrize("kept", [0, 4, 1000, -1000, -1])
def test_weights_that_were_cut_off_are_refused_and_change_nothing(
    config: MnistConfig, path: Path, kept: int
) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    model = build_classifier(config)
    before = bits(model)
    refusal(model, path)
    assert bits(model) == before


def test_a_file_of_another_kind_is_refused(config: MnistConfig, path: Path) -> None:
    path.write_text("<!DOCTYPE html><html>Not found</html>")
    refusal(build_classifier(config), path)


@pytest.mark.parametrize(
    "change",
    [{"n_classes": 11}, {"n_classes": 9}, {"n_channels": 3}, {"image_height": 30}],
)
def test_weights_for_other_params_are_refused(
    config: MnistConfig, path: Path, change: dict[str, Any]
) -> None:
    message = refusal(build_classifier(replace(config, **change)), path)
    assert "not the weights of this classifier" in message


def deeper(layers: list[Any]) -> list[Any]:
    return [*layers, keras.layers.Dense(10)]


def without_normalization(layers: list[Any]) -> list[Any]:
    return [layer for layer in layers if "batch_normalization" not in layer.name]


@pytest.mark.parametrize("change", [deeper, without_normalization])
@pytest.mark.parametrize("build", [build_classifier, build_features])
def test_weights_of_another_architecture_are_refused(
    config: MnistConfig,
    tmp_path: Path,
    build: Callable[[MnistConfig], Any],
    change: Callable[[list[Any]], list[Any]],
) -> None:
    path = tmp_path / "other.weights.h5"
    model = build(config)
    layers = [keras.Input(config.image_shape), *change(model.layers)]
    keras.Sequential(layers, name=model.name).save_weights(path)
    refusal(build(config), path)


def test_weights_of_the_features_are_not_taken_for_the_classifiers(
    config: MnistConfig, tmp_path: Path
) -> None:
    path = tmp_path / "features.weights.h5"
    build_features(config).save_weights(path)
    model = build_classifier(config)
    before = bits(model)
    refusal(model, path)
    assert bits(model) == before


def test_weights_of_a_classifier_are_not_taken_for_its_features(
    config: MnistConfig, path: Path
) -> None:
    refusal(build_features(config), path)
