"""Where a training step goes, and what changes it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dvclive import Live

from stages.mnist.augmentation import augmented
from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import load_batches, stream_batches
from stages.mnist.training import _log
from tests.benchmarks.conftest import Measured, Measuring
from tests.benchmarks.networks import (
    compiled,
    operations,
    second_epoch,
    second_epoch_of_fit,
    seconds_of,
)


def _fit_on_one_batch(config: MnistConfig, records: Path, **options: Any) -> Measured:
    """Seconds a step of Keras's fit on a batch that stays in memory."""
    n_steps = config.n_train_samples // config.batch_size
    batch = next(iter(load_batches(records, config)))[:2]
    data = tf.data.Dataset.from_tensors(batch).repeat()
    model = compiled(config, **options)
    return lambda: (
        second_epoch_of_fit(model, config.batch_size, data, steps_per_epoch=n_steps) / n_steps
    )


def _account(config: MnistConfig, records: Path, curves: Path) -> dict[str, Callable[[], float]]:
    """Parts of a training step, each with the seconds that it takes a step."""
    n_steps = config.n_train_samples // config.batch_size
    parts: dict[str, Measured] = {
        "the whole step": lambda: second_epoch(config, records, curves) / n_steps,
        "`fit` on one batch in memory": _fit_on_one_batch(config, records),
    }
    batch = next(iter(load_batches(records, config)))[:2]
    step = tf.function(compiled(config).train_step)
    parts["the compiled step alone, called from Python"] = lambda: seconds_of(
        lambda: step(batch), n_steps
    )
    for operation in operations(config):
        parts[operation.name] = partial(seconds_of, operation.run, 20)
    loader = stream_batches(records, config)
    for name, data in (
        ("loader alone", loader),
        ("loader and augmentation alone", augmented(loader, config)),
    ):
        parts[name] = partial(seconds_of, partial(next, iter(data)), n_steps)
    live = Live(str(curves / "live"), dvcyaml=None, report=None, save_dvc_exp=False)
    logs = {"accuracy": 0.5, "loss": 0.5}
    parts["DVCLive, once an epoch"] = lambda: seconds_of(lambda: _log(live, logs))
    return parts


def test_step(
    measuring: Measuring, config: MnistConfig, records: Path, tmp_path: Path, quick: bool
) -> None:
    parts = _account(config, records, tmp_path)
    for part in parts.values():
        part()
    rounds = [
        {name: part() for name, part in parts.items()} for _ in range(1 if quick else 3)
    ]  # in turn
    measuring.seconds(parts["the whole step"], rounds=1)
    for name in parts:
        seconds = statistics.median(measured[name] for measured in rounds)
        measuring.row("step", what=name, milliseconds=1000 * seconds)


VARIANTS: dict[str, dict[str, Any]] = {
    "steps_per_execution=16": {"steps_per_execution": 16},
    "without the metric": {"metrics": []},
}


@pytest.mark.parametrize("name", [*VARIANTS, "dtype_policy: mixed_bfloat16"])
def test_variants(measuring: Measuring, config: MnistConfig, records: Path, name: str) -> None:
    other = config if name in VARIANTS else replace(config, dtype_policy="mixed_bfloat16")
    variant = _fit_on_one_batch(other, records, **VARIANTS.get(name, {}))
    today = _fit_on_one_batch(config, records)
    variant(), today()
    own, before, quotient = measuring.seconds(variant, today, rounds=3)
    columns = {"milliseconds": 1000 * own, "milliseconds_today": 1000 * before}
    measuring.row("variants", what=name, **columns, speed=1 / quotient)
