from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from letterpress.core.config import ClassifierConfig
from letterpress.core.tensorflow import keras, tf
from letterpress.training.optimizer import Adam, build_optimizer

SCHEDULES: list[tuple[Any, float, dict[int, float]]] = [
    ("cosine", 0.0, {0: 0.5, 25: 0.25 * (1 + 0.5**0.5), 50: 0.25, 100: 0}),
    ("cosine", 0.2, {0: 0, 5: 0.125, 10: 0.25, 20: 0.5, 60: 0.25, 100: 0}),
    ("constant", 0.0, {0: 0.5, 1: 0.5, 99: 0.5, 100: 0.5}),
    ("constant", 0.1, {0: 0, 5: 0.25, 10: 0.5, 100: 0.5}),
]


def test_the_learning_rate_follows_the_schedule() -> None:
    for schedule, warmup, rates in SCHEDULES:
        config = ClassifierConfig(learning_rate_schedule=schedule, warmup=warmup, learning_rate=0.5)
        optimizer = build_optimizer(config, 100)
        for step, rate in rates.items():
            optimizer.iterations.assign(step)
            assert float(optimizer.learning_rate) == pytest.approx(rate)
    one_step = build_optimizer(ClassifierConfig(warmup=0.99, learning_rate=0.5), 1)
    assert float(one_step.learning_rate) == pytest.approx(0.5)


def test_each_optimizer_that_the_config_allows_can_be_built() -> None:
    for name in get_args(get_type_hints(ClassifierConfig)["optimizer"]):
        optimizer = build_optimizer(ClassifierConfig(optimizer=name), 10)
        assert type(optimizer).__name__.lower() == name


def test_adam_moves_as_kerass_adam_does() -> None:
    """Weights of all sizes, some with a gradient that is 0 or nearly 0."""
    random = np.random.default_rng(0)
    start = random.normal(size=(30, 20)).astype(np.float32)
    gradients = random.normal(size=(12, 30, 20)) * 10.0 ** random.integers(-9, 2, (30, 20))
    gradients[:, 0] = 0

    def move(optimizer: Any) -> list[Any]:
        weights = keras.Variable(start)
        optimizer.build([weights])
        step = tf.function(lambda gradient: optimizer.apply([gradient]))
        for gradient in gradients:
            step(tf.constant(gradient, tf.float32))
        return [np.asarray(variable) for variable in (weights, *optimizer.variables)]

    ours, kerass = move(Adam(0.01)), move(keras.optimizers.Adam(0.01))
    for own, expected in zip(ours, kerass, strict=True):
        np.testing.assert_allclose(own, expected, rtol=2e-4, atol=1e-6)
    assert np.abs(ours[0] - start)[1:].max() > 0.05
    np.testing.assert_array_equal(ours[0][0], start[0])
