"""The speed of training, compared with the machine's peak and with plain Keras and PyTorch."""

from pathlib import Path
from unittest import mock

import pytest

from letterpress.core.tensorflow import keras
from letterpress.evaluation.metrics import classify_split
from letterpress.mnist.config import MnistConfig
from letterpress.model import features
from letterpress.records.read import stream_batches
from letterpress.training.loop import train
from tests.benchmarks import networks
from tests.benchmarks.conftest import RECORDS, Measured, Measuring


@pytest.fixture
def ours(config: MnistConfig, records: Path, tmp_path: Path) -> Measured:
    """Seconds per image of the project's own training, without start-up."""
    return lambda: (
        networks.second_epoch(config, records, tmp_path / "curves") / config.n_train_samples
    )


def test_share_of_peak(measuring: Measuring, config: MnistConfig, ours: Measured) -> None:
    flop = networks.flop_per_image(config)
    networks.peak_flops(config)
    measuring.ratio(
        "FLOP/s of the MNIST epoch / the machine's peak",
        ours,
        lambda: flop / networks.peak_flops(config),
        unit="GFLOP/s",
        goals=(0.68, 0.72),
        work=flop / 1e9,
    )


def test_plain_keras(
    measuring: Measuring, config: MnistConfig, records: Path, ours: Measured
) -> None:
    images, labels = networks.in_memory(config, records)
    with mock.patch.object(features, "BatchNormalization", keras.layers.BatchNormalization):
        model = networks.compiled(config)
    measuring.ratio(
        "images/s of the MNIST epoch / plain Keras fit",
        ours,
        lambda: (
            networks.second_epoch_of_fit(model, config.batch_size, images, labels) / len(images)
        ),
        unit="images/s",
        goals=(1.42, 1.5),
    )


def test_plain_pytorch(
    measuring: Measuring, config: MnistConfig, records: Path, ours: Measured
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    epoch = networks.torch_epoch(torch, config, *networks.in_memory(config, records))
    measuring.ratio(
        "images/s of the MNIST epoch / plain PyTorch",
        ours,
        lambda: epoch() / config.n_train_samples,
        unit="images/s",
        goals=(1.35, 1.45),
    )


def test_accuracy_after_one_epoch(
    measuring: Measuring, mnist_config: MnistConfig, tmp_path: Path, quick: bool
) -> None:
    if quick:
        pytest.skip("a whole epoch is not quick")
    config = mnist_config.replace(n_epochs=1)
    classifier = train(config, RECORDS, tmp_path / "curves")
    test = classify_split(classifier, config, RECORDS / "test")
    accuracy = float((test.probabilities.argmax(axis=1) == test.labels).mean())
    what = "MNIST test accuracy after one epoch"
    measuring.value(what, accuracy, f"{accuracy:.4f}", goals=(0.988, 0.991))


def test_loader(measuring: Measuring, mnist_config: MnistConfig, ours: Measured) -> None:
    n_batches = mnist_config.n_train_samples // mnist_config.batch_size

    def load() -> None:
        for _ in stream_batches(RECORDS / "train", mnist_config).take(n_batches):
            pass

    load()
    measuring.ratio(
        "images/s of the loader alone / of the MNIST epoch",
        lambda: networks.seconds_of(load) / (n_batches * mnist_config.batch_size),
        ours,
        unit="images/s",
        goals=(15, 50),
    )
