"""The limits of the params that every classifier has, and the names that follow from them."""

from typing import Any

import pytest
from pydantic import ValidationError

from letterpress.core.config import ClassifierConfig
from letterpress.core.params import Params
from letterpress.mnist.config import MnistConfig

NAN, INF = float("nan"), float("inf")
COUNT = (1, 2**31 - 1), (0, -1, 2**31, 1.0, True, "1", None)
RATE = (0, 0.99), (1, -0.1, NAN, False, "0.5")
SIZE = (8, 512), (7, 513, 28.0, "28")
Limits = dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]]
"""Accepted and refused values by key."""
LIMITS: Limits = {
    "seed": ((0, 2**32 - 1), (-1, 2**32, True, 1.0)),
    "n_classes": ((2, 100_000), (1, 100_001, 10.0)),
    "n_train_samples": COUNT,
    "n_validation_samples": ((0, 2**31 - 1), (-1, 2**31, 2.0)),
    "n_test_samples": COUNT,
    "data_seed": ((0, 2**32 - 1), (-1, 2**32, None)),
    "none_share": RATE,
    "thicken": ((0, 1), (-0.1, 1.1, True)),
    "keep": (("last", "best"), ("first", None)),
    "patience": ((0, 5), (-1, 1.0)),
    "validation_freq": COUNT,
    "image_height": SIZE,
    "image_width": SIZE,
    "n_channels": ((1, 3), (0, 2, 4, True)),
    "n_shards": ((1, 100_000), (0, 100_001)),
    "batch_size": COUNT,
    "shuffle_buffer": COUNT,
    "max_rotation": ((0, 180), (-1, 181, False)),
    "max_shift": ((0, 512), (-0.1, 512.1, INF)),
    "max_zoom": RATE,
    "max_shear": RATE,
    "blocks": ((((8,),), ((32, 32), (64,))), ((), ((),), ((0,),), ((32.0,),), ((8,) * 9,), 32)),
    "architecture": (("own.py", "nets/deep.py"), ("own", "own:build", "", None)),
    "dense_units": COUNT,
    "feature_dropout": RATE,
    "dense_dropout": RATE,
    "batch_norm_momentum": RATE,
    "dtype_policy": (("float32", "mixed_bfloat16"), ("float16", None)),
    "pretrained_features": ((True, False), (1, "yes")),
    "freeze_features": ((True, False), (0, "no")),
    "match_channels": ((True, False), (1, "no")),
    "class_weights": (("equal", "balanced"), ("none", True)),
    "mirror": ((True, False), (0, "no")),
    "n_epochs": COUNT,
    "learning_rate": ((1e-05, 10), (0, 10.1, -INF, True, [0.003], "0.003")),
    "learning_rate_schedule": (("constant", "cosine"), ("linear",)),
    "warmup": RATE,
    "placement": (("center_of_mass", "bounding_box"), ("middle",)),
    "optimizer": (("adam", "adamw", "adagrad", "rmsprop", "sgd"), ("Adam", None)),
}


def assert_limits(config: Params, limits: Limits) -> None:
    for key, (accepted, refused) in limits.items():
        for value in accepted:
            assert getattr(config.replace(**{key: value}), key) == value
        for value in refused:
            with pytest.raises(ValidationError) as error:
                print(key, config.replace(**{key: value}))  # shown if it is accepted
            assert {problem["loc"][0] for problem in error.value.errors()} == {key}, value


def test_values_up_to_the_limits_are_accepted_and_others_are_refused() -> None:
    assert LIMITS.keys() == ClassifierConfig.model_fields.keys()
    assert_limits(ClassifierConfig(), LIMITS)


def test_image_shape_and_class_names_follow_from_the_values() -> None:
    config = ClassifierConfig(image_height=10, image_width=20, n_channels=3)
    assert config.image_shape == (10, 20, 3)
    assert MnistConfig().class_names == tuple("0123456789")
