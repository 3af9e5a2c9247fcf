"""Measures for the tables of docs/performance.md. `make bench` runs these files, `pytest` does not."""

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from letterpress.core.files import write_json
from letterpress.core.tensorflow import tf
from letterpress.jobs.shards import shard_paths
from letterpress.mnist.config import MnistConfig
from letterpress.records.read import read_lengths
from tests.benchmarks.tables import Row, describe_machine, number, with_rows
from tests.conftest import ROOT

RECORDS = ROOT / "data/mnist/tfrecords"

PAGE = ROOT / "docs/performance.md"
ROWS: list[tuple[str, Row]] = []
"""The rows measured so far, each after the name of its table."""

Measured = Callable[[], float]
"""Does something once and returns the seconds that it takes, per step, per letter, ..."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="less data, fewer rounds")
    parser.addoption("--million", action="store_true", help="growth up to a million letters")


def pytest_sessionfinish() -> None:
    """Writes what was measured; other rows stay as they are."""
    page = PAGE.read_text(encoding="utf-8")
    if ROWS:
        PAGE.write_text(with_rows(page, ROWS, describe_machine()), encoding="utf-8")


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


class Measuring:
    """Measures, and adds rows to the tables of the page."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.run = "quick" if quick else "full"

    def row(self, table: str, *cells: str) -> None:
        """Adds a row to a table."""
        ROWS.append((table, cells))

    def value(
        self, what: str, result: float, *, unit: str, goals: tuple[float, float], medians: str = ""
    ) -> None:
        """Adds a row to the table of ratios; `goals` are its floor and its aim."""
        floor, aim = goals
        sign = -1 if aim < floor else 1  # less may be better
        reached = "aim" if sign * result >= sign * aim else "floor"
        if sign * result < sign * floor:
            reached = "-"
        shown = f"{number(result)} {unit}".rstrip() if unit or medians else f"{result:.4f}"
        self.row("ratios", what, shown, f"{floor:g}", f"{aim:g}", reached, medians, self.run)

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
        medians = " / ".join(number(statistics.median(values)) for values in (own, others))
        self.value(what, result, unit="", goals=goals, medians=f"{medians} {unit}")


@pytest.fixture
def measuring(quick: bool) -> Measuring:
    return Measuring(quick)
