"""Measures for the tables of docs/performance.md. Only `make bench` runs these files."""

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from letterpress.core.files import write_json
from letterpress.core.tensorflow import tf
from letterpress.jobs.shards import shard_paths
from letterpress.mnist.config import MnistConfig
from letterpress.records.read import read_lengths
from tests.benchmarks import tables
from tests.conftest import ROOT

RECORDS = ROOT / "data/mnist/tfrecords"

Measured = Callable[[], float]
"""Does something once and returns the seconds that it takes, per step, per letter, ..."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="less data, fewer rounds")
    parser.addoption("--million", action="store_true", help="growth up to a million letters")


def pytest_benchmark_update_machine_info(config: object, machine_info: dict[str, Any]) -> None:
    machine_info["cores"] = len(os.sched_getaffinity(0))
    machine_info["load"] = round(os.getloadavg()[0], 1)


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    tables.add(output_json)


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--quick"))


@pytest.fixture
def mnist_config() -> MnistConfig:
    return MnistConfig.from_yaml(ROOT / "params.yaml")


@pytest.fixture
def config(mnist_config: MnistConfig, quick: bool) -> MnistConfig:
    """The digits' params with two shorter epochs."""
    n_steps = 50 if quick else 200
    return mnist_config.replace(n_train_samples=n_steps * mnist_config.batch_size, n_epochs=2)


@pytest.fixture
def records(config: MnistConfig, tmp_path: Path) -> Path:
    """A folder with the first n_train_samples digits as its only split."""
    assert RECORDS.is_dir(), f"{RECORDS} is missing. Run `make repro` first"
    folder = tmp_path / "tfrecords/train"
    folder.mkdir(parents=True)
    (path,) = shard_paths(folder, ".tfrecord", 1)
    with tf.io.TFRecordWriter(str(path)) as writer:
        shards = list(read_lengths(RECORDS / "train"))
        for record in tf.data.TFRecordDataset(shards).take(config.n_train_samples):
            writer.write(record.numpy())
    write_json(folder / "lengths.json", {path.name: config.n_train_samples})
    return folder.parent


def rounded(value: float) -> str:
    """Formats a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Measuring:
    """Measures, and adds rows to the tables of docs/performance.md."""

    def __init__(self, rows: list[tuple[str, str, dict[str, str]]], quick: bool) -> None:
        self.rows = rows
        self.quick = quick

    def row(self, table: str, what: str, cells: dict[str, str]) -> None:
        """Adds the cells of a row, by heading, to a table. `what` tells the row from the others."""
        self.rows.append((table, what, cells | {"run": "quick" if self.quick else "full"}))

    def value(
        self, what: str, result: float, shown: str, goals: tuple[float, float], medians: str = ""
    ) -> None:
        """Adds a row to the table of ratios; `goals` are its floor and its aim."""
        sign = -1 if goals[1] < goals[0] else 1  # less may be better
        names = {"aim": goals[1], "floor": goals[0]}
        reached = [name for name, goal in names.items() if sign * result >= sign * goal] or ["-"]
        cells = {"what": what, "result": shown, "floor": f"{goals[0]:g}", "aim": f"{goals[1]:g}"}
        self.row("ratios", what, cells | {"reached": reached[0], "medians": medians})

    def ratio(
        self,
        what: str,
        ours: Measured,
        peer: Measured,
        *,
        unit: str,
        goals: tuple[float, float],
        work: float = 1.0,
        rounds: int = 3,
    ) -> None:
        """Measures ours / peer in turn. If the unit ends in /s, the values are `work` / seconds."""
        own: list[float] = []
        others: list[float] = []
        for _ in range(min(rounds, 2) if self.quick else rounds):
            for measured, values in ((peer, others), (ours, own)):
                seconds = measured()
                values.append(work / seconds if unit.endswith("/s") else seconds)
        result = statistics.median(a / b for a, b in zip(own, others, strict=True))
        medians = " / ".join(rounded(statistics.median(values)) for values in (own, others))
        self.value(what, result, rounded(result), goals, f"{medians} {unit}")


@pytest.fixture
def measuring(benchmark: Any, quick: bool) -> Measuring:
    benchmark.pedantic(lambda: None)  # pytest-benchmark only writes the rows to its JSON file
    return Measuring(benchmark.extra_info.setdefault("rows", []), quick)
