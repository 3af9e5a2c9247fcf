"""The curve of accuracy by number of labels, from three starts, and what the parent's features gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from stages.mnist.config import MnistConfig
from stages.mnist.processes import local_map
from stages.transfer.config import TransferConfig

STARTS = ("scratch", "pretrained", "frozen")
"""From random weights; from the parent's features; from them, training only the layers above."""


class Point(NamedTuple):
    """A training and its result."""

    labels_per_class: int
    start: str
    seed: int
    """0 .. n_seeds - 1"""
    accuracy: float
    """0..1, on letters of unseen typefaces."""


def measure_points(
    config: MnistConfig, transfer: TransferConfig, records: Path, features: Path
) -> Iterator[Point]:
    """Trains from each start with each seed and number of labels; yields a point for each training.

    The trainings are spread over as many processes as there are cores, of one thread each: so the
    points do not depend on the number of cores. See `training.measure_accuracies`.

    Raises:
        PipelineError: records or weights are missing, damaged or do not fit the config, there are
            too few letters, or a process was killed.
    """
    runs = [(start, seed) for seed in range(transfer.n_seeds) for start in STARTS]
    calls = [(config, transfer, records, features, *run) for run in runs]
    for (start, seed), accuracies in zip(runs, local_map(_measure, calls), strict=True):
        for n_labels, accuracy in zip(transfer.labels_per_class, accuracies, strict=True):
            yield Point(n_labels, start, seed, accuracy)


def _measure(*arguments: Any) -> list[float]:
    """See `training.measure_accuracies`. Its own process needs TensorFlow, this one does not."""
    from stages.transfer.training import measure_accuracies

    return measure_accuracies(*arguments)


def transfer_gains(points: Sequence[Point]) -> dict[str, Mapping[str, float]]:
    """Computes what the parent's features add to the accuracy, by number of labels per class.

    Returns:
        For each "labels_N": transfer_gain, the mean over the seeds of the accuracy from pretrained
        features less that from scratch on the same letters, and its 95 % interval,
        transfer_gain_low to transfer_gain_high (Student's t on the paired differences).
    """
    accuracy = {(p.labels_per_class, p.start, p.seed): p.accuracy for p in points}
    seeds = sorted({p.seed for p in points})
    gains: dict[str, Mapping[str, float]] = {}
    for n_labels in sorted({p.labels_per_class for p in points}):
        mean, low, high = mean_interval(
            [accuracy[n_labels, "pretrained", s] - accuracy[n_labels, "scratch", s] for s in seeds]
        )
        gains[f"labels_{n_labels}"] = {
            "transfer_gain": mean,
            "transfer_gain_low": low,
            "transfer_gain_high": high,
        }
    return gains


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Computes the mean of at least two values and its 95 % interval (Student's t)."""
    mean = float(np.mean(values))
    error = np.std(values, ddof=1) / len(values) ** 0.5
    half = float(student.ppf(0.975, len(values) - 1) * error)
    return mean, mean - half, mean + half
