"""Measures things in turn, for the tables of `tools/bench.py`. Run by `make bench`, never by `pytest` alone."""

import os
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist import train
from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import read_lengths
from stages.mnist.files import write_json
from stages.mnist.shards import shard_paths
from tests.conftest import ROOT

RECORDS = ROOT / train.RECORDS

Measured = Callable[[], float]
"""Does something once and returns the seconds that it took, by whatever it counts: a step, a letter."""

_clock = 0.0


def measured_seconds() -> float:
    """pytest-benchmark's clock: it advances by what a `Measured` returns, not by its preparations."""
    return _clock


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="less data, fewer rounds")
    parser.addoption("--million", action="store_true", help="growth up to a million letters")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=measured_seconds))


def pytest_benchmark_update_machine_info(config: object, machine_info: dict[str, Any]) -> None:
    del machine_info["node"]
    machine_info["cores"] = len(os.sched_getaffinity(0))
    machine_info["load"] = round(os.getloadavg()[0], 1)


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--quick"))


@pytest.fixture
def mnist_config() -> MnistConfig:
    return MnistConfig.from_yaml(ROOT / "params.yaml")


@pytest.fixture
def letter_config() -> AsciiLetterConfig:
    return AsciiLetterConfig.from_yaml(ROOT / "params.yaml")


@pytest.fixture
def config(mnist_config: MnistConfig, quick: bool) -> MnistConfig:
    """The digits' params with shorter epochs, two of them."""
    n_steps = 50 if quick else 200
    n = n_steps * mnist_config.batch_size
    return replace(mnist_config, n_train_samples=n, n_epochs=2)


@pytest.fixture
def records(config: MnistConfig, tmp_path: Path) -> Path:
    """The first n_train_samples digits."""
    assert RECORDS.is_dir(), "run `make repro` first: it makes the digits that this measures with"
    folder = tmp_path / "train"
    folder.mkdir()
    (path,) = shard_paths(folder, ".tfrecord", 1)
    shards = list(read_lengths(RECORDS))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in tf.data.TFRecordDataset(shards).take(config.n_train_samples):
            writer.write(record.numpy())
    write_json(folder / "lengths.json", {path.name: config.n_train_samples})
    return folder


class Measuring:
    """Measures `ours` and, before each time, `peer`, and adds a row to a table."""

    def __init__(self, benchmark: Any, quick: bool) -> None:
        self.benchmark = benchmark
        self.quick = quick

    def seconds(self, ours: Measured, peer: Measured | None = None, rounds: int = 5) -> Any:
        """Returns the medians of ours, of peer, and of ours / peer of each round; warm up before."""
        rounds = min(rounds, 2) if self.quick else rounds
        own: list[float] = []
        others: list[float] = []

        def measure() -> None:
            global _clock
            own.append(ours())
            _clock += own[-1]

        def measure_peer() -> None:
            if peer:
                others.append(peer())

        self.benchmark.pedantic(measure, setup=measure_peer, rounds=rounds)
        if peer is None:
            return statistics.median(own)
        quotients = [a / b for a, b in zip(own, others, strict=True)]
        return statistics.median(own), statistics.median(others), statistics.median(quotients)

    def row(self, table: str, **columns: object) -> None:
        """Adds a row to a table."""
        rows = self.benchmark.extra_info.setdefault("rows", [])
        rows.append({"table": table, **columns, "quick": self.quick})

    def ratio(
        self,
        what: str,
        ours: Measured,
        peer: Measured,
        *,
        floor: float,
        aim: float,
        unit: str,
        per_second: float | None = None,
        rounds: int = 5,
    ) -> None:
        """Adds a row to the table of ratios.

        Args:
            what: ours / peer, in words.
            ours: see `seconds`.
            peer: see `seconds`.
            floor: what the ratio must reach.
            aim: what it should reach.
            unit: of the two values.
            per_second: the values are this divided by the seconds, and so is the ratio; else they
                are the seconds.
            rounds: how often each is measured.
        """
        own, other, quotient = self.seconds(ours, peer, rounds)
        if per_second is not None:
            own, other, quotient = per_second / own, per_second / other, 1 / quotient
        columns = {"ours": own, "peer": other, "unit": unit, "floor": floor, "aim": aim}
        self.row("ratios", what=what, result=quotient, **columns)

    def value(self, what: str, result: float, unit: str, floor: float, aim: float) -> None:
        """Adds a value that is no ratio to that table."""
        self.row("ratios", what=what, result=result, unit=unit, floor=floor, aim=aim)


@pytest.fixture
def measuring(benchmark: Any, quick: bool) -> Measuring:
    return Measuring(benchmark, quick)
