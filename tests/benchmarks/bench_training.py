"""How fast it trains."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dvclive import Live

from stages.mnist import train as stage
from stages.mnist.augmentation import augmented
from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import load_batches
from stages.mnist.evaluation import evaluate
from stages.mnist.training import _log, train
from tests.benchmarks.conftest import Measured, Measuring
from tests.benchmarks.networks import (
    compiled,
    flop_of_an_image,
    in_memory,
    operations,
    peak_flops,
    second_epoch,
    second_epoch_of_fit,
    seconds_of,
    torch_epoch,
)
from tests.conftest import ROOT

RECORDS = ROOT / stage.RECORDS


@pytest.fixture
def config(mnist_config: MnistConfig, quick: bool) -> MnistConfig:
    """The digits' params with shorter epochs, two of them."""
    n_steps = 50 if quick else 200
    n = n_steps * mnist_config.batch_size
    return replace(mnist_config, n_train_samples=n, n_epochs=2)


@pytest.fixture
def records(config: MnistConfig, tmp_path: Path) -> Path:
    """The first n_train_samples digits."""
    assert RECORDS.is_file(), "run `make repro` first: it makes the digits that this measures with"
    path = tmp_path / "train.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in tf.data.TFRecordDataset(str(RECORDS)).take(config.n_train_samples):
            writer.write(record.numpy())
    return path


@pytest.fixture
def ours(config: MnistConfig, records: Path, tmp_path: Path) -> Measured:
    """Seconds an image of the project's own training, an epoch in its full swing."""
    return lambda: second_epoch(config, records, tmp_path / "curves") / config.n_train_samples


def test_share_of_peak(measuring: Measuring, config: MnistConfig, ours: Measured) -> None:
    peak_flops(config)
    measuring.ratio(
        "FLOP/s of the MNIST epoch / the machine's peak",
        ours,
        lambda: flop_of_an_image(config) / peak_flops(config),
        unit="GFLOP/s",
        per_second=flop_of_an_image(config) / 1e9,
        floor=0.55,
        aim=0.8,
        rounds=3,
    )


def test_plain_keras(
    measuring: Measuring, config: MnistConfig, records: Path, ours: Measured
) -> None:
    images, labels = in_memory(config, records)
    keras_model = compiled(config)
    measuring.ratio(
        "images/s of the MNIST epoch / plain Keras fit",
        ours,
        lambda: second_epoch_of_fit(keras_model, config.batch_size, images, labels) / len(images),
        unit="images/s",
        per_second=1,
        floor=1.0,
        aim=1.3,
        rounds=3,
    )


def test_plain_pytorch(
    measuring: Measuring, config: MnistConfig, records: Path, ours: Measured
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is absent: pip install torch")
    epoch = torch_epoch(torch, config, *in_memory(config, records))
    measuring.ratio(
        "images/s of the MNIST epoch / plain PyTorch",
        ours,
        lambda: epoch() / config.n_train_samples,
        unit="images/s",
        per_second=1,
        floor=1.2,
        aim=1.6,
        rounds=3,
    )


def test_accuracy_after_one_epoch(
    measuring: Measuring, mnist_config: MnistConfig, tmp_path: Path, quick: bool
) -> None:
    if quick:
        pytest.skip("a whole epoch is not quick")
    config = replace(mnist_config, n_epochs=1)
    accuracies = []

    def one_epoch() -> float:
        seconds = seconds_of(
            lambda: accuracies.append(
                evaluate(
                    train(config, RECORDS, tmp_path / "curves"),
                    config,
                    RECORDS.with_name("test.tfrecord"),
                )[0]["accuracy"]
            )
        )
        return seconds

    measuring.seconds(one_epoch, rounds=1)
    measuring.value("MNIST test accuracy after one epoch", accuracies[0], "", 0.988, 0.991)


def test_loader(measuring: Measuring, mnist_config: MnistConfig, ours: Measured) -> None:
    def load() -> None:
        for _ in load_batches(RECORDS, mnist_config, shuffled=True):
            pass

    load()
    measuring.ratio(
        "images/s of the loader alone / of the MNIST epoch",
        lambda: seconds_of(load) / mnist_config.n_train_samples,
        ours,
        unit="images/s",
        per_second=1,
        floor=15,
        aim=50,
        rounds=3,
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
    loader = load_batches(records, config, shuffled=True).repeat()
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
