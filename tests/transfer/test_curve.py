"""The points are measured in processes of their own, and what they say is computed right."""

from __future__ import annotations

from dataclasses import replace
from itertools import starmap
from pathlib import Path
from typing import Any

import pytest

from stages.mnist.errors import PipelineError
from stages.transfer import curve
from stages.transfer.curve import STARTS, Point, mean_interval, measure_points, transfer_gains
from tests.transfer.conftest import N_TRAIN, Inputs, use_processes


def test_what_a_process_refuses_is_told_as_it_is(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_processes(monkeypatch, 1)
    transfer = replace(inputs.transfer, labels_per_class=[1, N_TRAIN + 1])
    with pytest.raises(PipelineError) as refused:
        next(measure_points(inputs.config, transfer, inputs.train.parent, inputs.features))
    assert str(refused.value) == (
        f"{inputs.train} has 6 letters of some class, the section transfer of params.yaml asks "
        "for 7: lower labels_per_class or n_unseen_per_class"
    )


def test_each_accuracy_comes_with_its_number_of_labels_start_and_seed(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*arguments: Any) -> list[float]:
        _, transfer, records, features, start, seed = arguments
        assert (records, features) == (Path("records"), Path("features"))
        return [accuracy(n, start, seed) for n in transfer.labels_per_class]

    def accuracy(n_labels: int, start: str, seed: int) -> float:
        return n_labels / 100 + STARTS.index(start) / 1000 + seed / 10000

    monkeypatch.setattr(curve, "local_map", starmap)
    monkeypatch.setattr(curve, "_measure", measure)
    transfer = replace(inputs.transfer, labels_per_class=[20, 3, 7], n_seeds=3)
    points = list(measure_points(inputs.config, transfer, Path("records"), Path("features")))
    expected = {(n, start, seed) for n in (20, 3, 7) for start in STARTS for seed in range(3)}
    assert {point[:3] for point in points} == expected
    assert len(points) == len(expected)
    for point in points:
        assert point.accuracy == accuracy(*point[:3])


def points_of(accuracies: dict[tuple[int, str], list[float]]) -> list[Point]:
    return [
        Point(n, start, seed, accuracy)
        for (n, start), values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


def test_the_gain_is_the_mean_of_the_paired_differences_with_their_interval() -> None:
    points = points_of(
        {
            (10, "scratch"): [0.50, 0.60, 0.70],
            (10, "pretrained"): [0.60, 0.62, 0.73],
            (10, "frozen"): [0.0, 0.0, 0.0],  # not asked for
            (2, "pretrained"): [0.2, 0.1, 0.0],
            (2, "scratch"): [0.2, 0.1, 0.0],
        }
    )
    gains = transfer_gains(points[::-1])
    assert list(gains) == ["labels_2", "labels_10"]
    # The differences are 0.10, 0.02 and 0.03: mean 0.05; squares of what is off the mean
    # 0.0025 + 0.0009 + 0.0004 = 0.0038, /2 = 0.0019; 4.3027 is t of 2 degrees, in any table.
    half = 4.302653 * (0.0019 / 3) ** 0.5
    assert gains["labels_10"] == {
        "transfer_gain": pytest.approx(0.05),
        "transfer_gain_low": pytest.approx(0.05 - half),
        "transfer_gain_high": pytest.approx(0.05 + half),
    }
    assert set(gains["labels_2"].values()) == {0.0}


def test_an_interval_of_two_values_is_that_of_the_table() -> None:
    assert mean_interval([0.1, 0.3]) == pytest.approx((0.2, 0.2 - 1.270620, 0.2 + 1.270620))
