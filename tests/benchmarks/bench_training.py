"""How fast it trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stages.mnist.config import MnistConfig
from stages.mnist.dataset import stream_batches
from stages.mnist.evaluation import evaluate
from stages.mnist.training import train
from tests.benchmarks.conftest import RECORDS, Measured, Measuring
from tests.benchmarks.networks import (
    compiled,
    flop_of_an_image,
    in_memory,
    peak_flops,
    second_epoch,
    second_epoch_of_fit,
    seconds_of,
    torch_epoch,
)


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
                    RECORDS.with_name("test"),
                )[0]["accuracy"]
            )
        )
        return seconds

    measuring.seconds(one_epoch, rounds=1)
    measuring.value("MNIST test accuracy after one epoch", accuracies[0], "", 0.988, 0.991)


def test_loader(measuring: Measuring, mnist_config: MnistConfig, ours: Measured) -> None:
    n_batches = mnist_config.n_train_samples // mnist_config.batch_size

    def load() -> None:
        for _ in stream_batches(RECORDS, mnist_config).take(n_batches):
            pass

    load()
    measuring.ratio(
        "images/s of the loader alone / of the MNIST epoch",
        lambda: seconds_of(load) / (n_batches * mnist_config.batch_size),
        ours,
        unit="images/s",
        per_second=1,
        floor=15,
        aim=50,
        rounds=3,
    )
