from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from stages.mnist.backend import keras, tf
from stages.mnist.config import MnistConfig
from stages.mnist.optimizer import Adam, build_optimizer


@pytest.fixture
def config(project: Path) -> MnistConfig:
    return MnistConfig.from_yaml(project / "params.yaml")


def rates(config: MnistConfig, *steps: int) -> list[float]:
    """The learning rate at these steps of a training."""
    n_steps = math.ceil(config.n_train_samples / config.batch_size) * config.n_epochs
    optimizer = build_optimizer(config, n_steps)
    found = []
    for step in steps:
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found


@pytest.fixture
def hundred_steps(config: MnistConfig) -> MnistConfig:
    """Ten steps an epoch, of which the last is a smaller batch."""
    return replace(config, n_train_samples=91, batch_size=10, n_epochs=10, learning_rate=0.5)


def test_a_cosine_falls_from_the_highest_rate_to_zero(hundred_steps: MnistConfig) -> None:
    config = replace(hundred_steps, learning_rate_schedule="cosine", warmup=0)
    assert rates(config, 0, 50, 100) == pytest.approx([0.5, 0.25, 0])
    assert rates(config, 25)[0] == pytest.approx(0.25 * (1 + 0.5**0.5))


def test_a_warm_up_rises_from_zero_in_its_share_of_the_steps(hundred_steps: MnistConfig) -> None:
    config = replace(hundred_steps, learning_rate_schedule="cosine", warmup=0.2)
    assert rates(config, 0, 5, 10, 20) == pytest.approx([0, 0.125, 0.25, 0.5])
    assert rates(config, 60, 100) == pytest.approx([0.25, 0])


def test_a_constant_rate_stays_to_the_end(hundred_steps: MnistConfig) -> None:
    config = replace(hundred_steps, learning_rate_schedule="constant", warmup=0)
    assert rates(config, 0, 1, 99, 100) == pytest.approx([0.5] * 4)


def test_a_constant_rate_may_have_a_warm_up(hundred_steps: MnistConfig) -> None:
    config = replace(hundred_steps, learning_rate_schedule="constant", warmup=0.1)
    assert rates(config, 0, 5, 10, 100) == pytest.approx([0, 0.25, 0.5, 0.5])


@pytest.mark.parametrize("warmup", [0.5, 0.99])
def test_a_training_of_one_step_has_a_rate(config: MnistConfig, warmup: float) -> None:
    one = replace(config, n_epochs=1, batch_size=1000, warmup=warmup)
    assert rates(one, 0) == pytest.approx([one.learning_rate])


OPTIMIZERS = get_args(get_type_hints(MnistConfig)["optimizer"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_of_the_params_can_be_had(config: MnistConfig, name: Any) -> None:
    optimizer = build_optimizer(replace(config, optimizer=name), 10)
    assert type(optimizer).__name__.lower() == name


def test_adam_moves_as_kerass_does() -> None:
    """Weights of all sizes, among them such whose gradient is 0 or next to it."""
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

    ended = move(Adam(0.01)), move(keras.optimizers.Adam(0.01))
    for own, kerass in zip(*ended, strict=True):
        np.testing.assert_allclose(own, kerass, rtol=2e-4, atol=1e-6)
    assert np.abs(ended[0][0] - start)[1:].max() > 0.05
    np.testing.assert_array_equal(ended[0][0][0], start[0])
