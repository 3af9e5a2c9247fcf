"""Measures and plots accuracy by labels per class for each start, and the gain from features."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import t as student
from tqdm import tqdm

from letterpress.core.config import ClassifierConfig
from letterpress.core.files import replacing
from letterpress.jobs.processes import local_map
from letterpress.transfer.config import TransferConfig

GAIN = ("transfer_gain", "transfer_gain_low", "transfer_gain_high")


class Point(NamedTuple):
    """One training and its result."""

    labels_per_class: int
    start: str
    seed: int
    """0 .. n_seeds - 1"""
    accuracy: float
    """0..1, on letters of unseen typefaces."""


def measure_points(
    config: ClassifierConfig, transfer: TransferConfig, records: Path, features: Path
) -> list[Point]:
    """Trains from each start, with each seed, on each number of labels, in parallel processes."""
    runs = [(start, seed) for seed in range(transfer.n_seeds) for start in transfer.starts]
    calls = [(config, transfer, records, features, *run) for run in runs]
    trained = tqdm(local_map(_measure, calls), "trainings", len(calls), disable=None)
    return [
        Point(n_labels, start, seed, accuracy)
        for (start, seed), accuracies in zip(runs, trained, strict=True)
        for n_labels, accuracy in zip(transfer.labels_per_class, accuracies, strict=True)
    ]


def _measure(*arguments: Any) -> list[float]:
    # Only the processes that train import TensorFlow.
    from letterpress.transfer.training import measure_accuracies

    return measure_accuracies(*arguments)


def transfer_gains(points: Sequence[Point]) -> dict[str, Mapping[str, float]]:
    """Computes what pretrained features add to the accuracy, by number of labels per class.

    Each "labels_N" has the values named in GAIN: the mean over the seeds of the accuracy from
    pretrained minus the accuracy from scratch, and its 95 % interval (Student's t).
    """
    accuracy = {(p.labels_per_class, p.start, p.seed): p.accuracy for p in points}
    seeds = sorted({p.seed for p in points})
    gains: dict[str, Mapping[str, float]] = {}
    if not {"pretrained", "scratch"} <= {p.start for p in points}:
        return gains
    for n in sorted({p.labels_per_class for p in points}):
        gained = [accuracy[n, "pretrained", s] - accuracy[n, "scratch", s] for s in seeds]
        gains[f"labels_{n}"] = dict(zip(GAIN, mean_interval(gained), strict=True))
    return gains


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Computes the mean of at least two values and its 95 % interval (Student's t)."""
    mean = float(np.mean(values))
    error = np.std(values, ddof=1) / len(values) ** 0.5
    half = float(student.ppf(0.975, len(values) - 1) * error)
    return mean, mean - half, mean + half


def plot_points(target: Path, points: Sequence[Point]) -> None:
    """Plots one curve per start as a PNG: the mean over the seeds and its 95 % interval."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    numbers = sorted({point.labels_per_class for point in points})
    for start in sorted({point.start for point in points}, reverse=True):
        samples = [[p.accuracy for p in points if p[:2] == (n, start)] for n in numbers]
        means, lows, highs = zip(*map(mean_interval, samples), strict=True)
        axes.plot(numbers, means, marker="o", label=start)
        axes.fill_between(numbers, lows, highs, alpha=0.2)
    axes.set_xscale("log")
    axes.set_xticks(numbers, labels=[str(number) for number in numbers], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("labels per class")
    axes.set_ylabel("accuracy on unseen typefaces")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.grid(alpha=0.3)
    axes.legend(title="mean and 95 % interval")
    with replacing(target) as path:
        # Without the version of Matplotlib, another version may give the same bytes.
        figure.savefig(path, dpi=100, metadata={"Software": None})
