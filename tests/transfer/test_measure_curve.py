"""The stage transfer_curve: its table, its picture and its metrics say the same."""

from __future__ import annotations

import copy
import csv
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.mnist.errors import PipelineError
from stages.transfer import measure_curve as stage
from stages.transfer.curve import STARTS, Point, mean_interval, transfer_gains
from tests.conftest import Params
from tests.mnist.test_files import contents
from tests.transfer.conftest import make_inputs, use_processes

OUTPUTS = [stage.CURVE, stage.PLOT, stage.METRICS]
POINTS = [
    Point(n, start, seed, (n + 3 * STARTS.index(start) + seed) / 30)
    for n in (1, 2, 20)
    for start in STARTS
    for seed in (0, 1)
]


class Run(NamedTuple):
    files: dict[str, bytes]
    """What the stage wrote, by file name."""
    points: list[Point]
    """What it drew."""
    printed: list[str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params) -> list[Run]:
    """The stage with one process, then with three."""
    folder = tmp_path_factory.mktemp("project")
    make_inputs(folder, copy.deepcopy(_tiny_params))
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        printed: list[str] = []
        drawn: list[Point] = []
        plot_points = stage.plot_points

        def plot(target: Path, points: Sequence[Point]) -> None:
            drawn.extend(points)
            plot_points(target, points)

        patch.setattr(stage, "plot_points", plot)
        patch.setattr("builtins.print", printed.append)
        for n_processes in (1, 3):
            use_processes(patch, n_processes)
            printed.clear()
            drawn.clear()
            stage.main()
            files = {path.name: path.read_bytes() for path in stage.METRICS.parent.iterdir()}
            found.append(Run(files, list(drawn), list(printed)))
    return found


@pytest.fixture(scope="module")
def points(runs: list[Run]) -> list[Point]:
    rows = csv.DictReader(runs[0].files["curve.csv"].decode().splitlines())
    return [
        Point(int(r["labels_per_class"]), r["start"], int(r["seed"]), float(r["accuracy"]))
        for r in rows
    ]


def test_one_process_and_three_write_the_same_bytes(runs: list[Run]) -> None:
    assert sorted(runs[0].files) == sorted(path.name for path in OUTPUTS)
    assert runs[0] == runs[1]


def test_the_accuracies_are_not_all_the_same(points: list[Point]) -> None:
    assert len({point.accuracy for point in points}) > 2


def test_the_gains_are_told(runs: list[Run]) -> None:
    metrics = json.loads(runs[0].files["metrics.json"])
    assert runs[0].printed == [
        f"{name}: transfer gains {100 * gain['transfer_gain']:+.1f} points "
        f"({100 * gain['transfer_gain_low']:+.1f} to {100 * gain['transfer_gain_high']:+.1f})"
        for name, gain in metrics.items()
    ]


def test_the_table_has_a_line_for_each_training(runs: list[Run], points: list[Point]) -> None:
    header = runs[0].files["curve.csv"].decode().partition("\n")[0]
    assert header == "labels_per_class,start,seed,accuracy"
    assert sorted((p.labels_per_class, p.start, p.seed) for p in points) == sorted(
        (n, start, seed) for n in (1, 2) for start in STARTS for seed in (0, 1)
    )
    for point in points:  # of 2 unseen letters of each of 3 classes, though there are 3
        assert point.accuracy * 6 == pytest.approx(round(point.accuracy * 6), abs=1e-3)


def test_the_table_and_the_metrics_are_of_the_points_that_are_drawn(
    runs: list[Run], points: list[Point]
) -> None:
    for run in runs:
        assert [point._replace(accuracy=round(point.accuracy, 4)) for point in run.points] == points
        metrics = json.loads(run.files["metrics.json"])
        expected = transfer_gains(run.points)
        assert metrics.keys() == expected.keys() == {"labels_1", "labels_2"}
        for name, gain in metrics.items():
            assert gain == pytest.approx(dict(expected[name]), abs=1e-6), name


def chunks(png: bytes) -> list[bytes]:
    """The kinds of the chunks of a PNG."""
    kinds, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kinds.append(png[at + 4 : at + 8])
        at += 12 + length
    return kinds


def test_the_picture_holds_no_date_and_no_version(runs: list[Run]) -> None:
    assert runs[0].files["curve.png"].startswith(b"\x89PNG\r\n\x1a\n")
    assert not {b"tEXt", b"iTXt", b"zTXt", b"tIME"} & set(chunks(runs[0].files["curve.png"]))


def test_the_picture_shows_the_means_and_intervals_of_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    bands: list[Any] = []
    savefig, fill = Figure.savefig, Axes.fill_between

    def saved(self: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(self)
        savefig(self, *arguments, **options)

    def filled(self: Axes, *arguments: Any, **options: Any) -> Any:
        bands.append(arguments)
        return fill(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", saved)
    monkeypatch.setattr(Axes, "fill_between", filled)
    stage.plot_points(tmp_path / "curve.png", POINTS[::-1])
    ((axes,),) = (figure.axes for figure in figures)
    lines = {str(line.get_label()): line for line in axes.lines}
    assert list(lines) == list(STARTS)
    for (start, line), (x, lows, highs) in zip(lines.items(), bands, strict=True):
        np.testing.assert_array_equal(np.asarray(line.get_xdata()), [1, 2, 20])
        assert list(x) == [1, 2, 20]
        expected = [
            mean_interval(
                [p.accuracy for p in POINTS if (p.labels_per_class, p.start) == (n, start)]
            )
            for n in (1, 2, 20)
        ]
        np.testing.assert_allclose(
            np.stack([np.asarray(line.get_ydata()), lows, highs], axis=1), expected, err_msg=start
        )
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "20"]
    assert axes.get_ylabel() == "accuracy on unseen typefaces"


def test_other_points_give_another_picture(tmp_path: Path) -> None:
    for name, points in (("one", POINTS), ("same", POINTS[::-1]), ("other", POINTS[:12])):
        stage.plot_points(tmp_path / name / "curve.png", points)
    one, same, other = (
        (tmp_path / name / "curve.png").read_bytes() for name in ("one", "same", "other")
    )
    assert one == same != other


def test_what_is_missing_is_named_and_older_results_are_left(
    project: Path, tiny_params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_inputs(project, tiny_params)
    stage.FEATURES.unlink()
    for path in OUTPUTS:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"older")
    before = contents(project)
    use_processes(monkeypatch, 1)
    with pytest.raises(PipelineError, match=f"{stage.FEATURES} is missing: run `dvc repro`"):
        stage.main()
    assert contents(project) == before
