from typing import Any

import numpy as np
import pytest

from letterpress.core.errors import PipelineError
from letterpress.mnist.config import MnistConfig
from letterpress.model.network import build_classifier, build_features

CONFIG = MnistConfig(feature_dropout=0.0, dense_dropout=0.0)
IMAGES = np.random.default_rng(0).random((4, 28, 28, 1), dtype=np.float32)


def test_features_have_the_documented_shape() -> None:
    for blocks in (((8,),), ((16, 16), (64,)), ((32, 32), (64, 64), (128,))):
        features = build_features(CONFIG.replace(blocks=blocks))
        for height, width in [(28, 28), (32, 32), (29, 31), (8, 40)]:
            found = features(np.zeros((3, height, width, 1), np.float32))
            assert found.shape == (3, height >> len(blocks), width >> len(blocks), blocks[-1][-1])


def test_blocks_that_halve_an_image_to_nothing_are_refused() -> None:
    build_classifier(CONFIG.replace(image_height=8))
    small = CONFIG.replace(image_height=15, blocks=((8,),) * 4)
    with pytest.raises(PipelineError, match="mnist: 4 blocks halve 15 pixels to nothing"):
        build_classifier(small)


def test_a_classifier_contains_the_features_and_returns_probabilities() -> None:
    classifier = build_classifier(CONFIG)
    features = classifier.get_layer("features")
    assert [w.shape for w in features.weights] == [w.shape for w in build_features(CONFIG).weights]
    probabilities = np.asarray(classifier(IMAGES))
    assert probabilities.shape == (4, 10)
    assert probabilities.dtype == np.float32
    assert probabilities.min() > 0
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_the_number_of_parameters_follows_from_the_config() -> None:
    assert build_features(CONFIG).count_params() == 123_696
    changes: list[tuple[dict[str, Any], int]] = [
        ({}, 0),
        ({"n_classes": 26}, 16 * (128 + 1)),
        ({"n_channels": 3}, 2 * 9 * 16),
        ({"image_height": 32, "image_width": 32}, (4**2 - 3**2) * 128 * 128),
        ({"dense_units": 64}, -64 * (3**2 * 128 + 1 + 4 + 10)),
        ({"blocks": ((16, 16), (64, 64), (64,))}, -64 * (9 * 64 + 1 + 4 + 3**2 * 128)),
    ]
    for change, more in changes:
        assert build_classifier(CONFIG.replace(**change)).count_params() == 273_082 + more


def test_mixed_bfloat16_computes_in_bfloat16_and_keeps_float32_weights() -> None:
    mixed = build_classifier(CONFIG.replace(dtype_policy="mixed_bfloat16"))
    full = build_classifier(CONFIG)
    full.set_weights(mixed.get_weights())
    assert {weights.dtype for weights in mixed.weights} == {"float32"}
    assert mixed.get_layer("features")(IMAGES).dtype == "bfloat16"
    assert full.get_layer("features")(IMAGES).dtype == "float32"
    exact, rounded = np.asarray(full(IMAGES)), np.asarray(mixed(IMAGES))
    assert exact.dtype == rounded.dtype == np.float32
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, atol=0.02)


def test_each_dropout_drops_in_training_only() -> None:
    for change in ({}, {"feature_dropout": 0.5}, {"dense_dropout": 0.5}):
        model = build_classifier(CONFIG.replace(**change))
        one, other = (np.asarray(model(IMAGES, training=True)) for _ in range(2))
        assert np.array_equal(one, other) == (change == {})
        np.testing.assert_array_equal(model(IMAGES), model(IMAGES))
