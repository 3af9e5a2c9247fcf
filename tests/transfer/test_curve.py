"""The points of the curve, the gains, and the stage whose table, plot and metrics agree."""

import csv
import json
import shutil
from itertools import product, starmap
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from letterpress.core.errors import PipelineError
from letterpress.transfer import curve
from letterpress.transfer.curve import (
    Point,
    mean_interval,
    measure_points,
    plot_points,
    transfer_gains,
)
from letterpress.transfer.training import measure_accuracies
from stages.transfer_curve import FEATURES, RECORDS, RESULTS, main
from tests.transfer.conftest import CONFIG, OF_STAGE, STARTS, TRANSFER, patch_threads


def test_points_keep_their_labels_start_and_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*arguments: Any) -> list[float]:
        assert arguments[:4] == (CONFIG, TRANSFER, Path("records"), Path("features"))
        return [accuracy(n, *arguments[4:]) for n in TRANSFER.labels_per_class]

    def accuracy(n_labels: int, start: str, seed: int) -> float:
        return n_labels / 100 + STARTS.index(start) / 1000 + seed / 10000

    monkeypatch.setattr("letterpress.transfer.curve.local_map", starmap)
    monkeypatch.setattr("letterpress.transfer.curve._measure", measure)
    points = measure_points(CONFIG, TRANSFER, Path("records"), Path("features"))
    keys = set(product(TRANSFER.labels_per_class, STARTS, (0, 1)))
    assert {point[:3]: point.accuracy for point in points} == {key: accuracy(*key) for key in keys}
    assert len(points) == len(keys)


def test_the_gain_is_the_mean_of_the_paired_differences_with_their_interval() -> None:
    accuracies = {
        (10, "scratch"): [0.50, 0.60, 0.70],
        (10, "pretrained"): [0.60, 0.62, 0.73],
        (10, "frozen"): [0.0, 0.0, 0.0],
        (2, "pretrained"): [0.2, 0.1, 0.0],
        (2, "scratch"): [0.2, 0.1, 0.0],
    }
    points = [Point(*key, i, values[i]) for key, values in accuracies.items() for i in (2, 0, 1)]
    gains = transfer_gains(points)
    assert list(gains) == ["labels_2", "labels_10"]
    # The differences are 0.10, 0.02 and 0.03: mean 0.05, variance 0.0038 / 2 = 0.0019. Tables give
    # t = 4.3027 for two degrees of freedom.
    half = 4.302653 * (0.0019 / 3) ** 0.5
    expected = dict(zip(curve.GAIN, (0.05, 0.05 - half, 0.05 + half), strict=True))
    assert gains["labels_10"] == pytest.approx(expected)
    assert set(gains["labels_2"].values()) == {0.0}
    assert transfer_gains([Point(1, "scratch", 0, 0.5)]) == {}
    assert mean_interval([0.1, 0.3]) == pytest.approx((0.2, 0.2 - 1.270620, 0.2 + 1.270620))


@pytest.mark.long
def test_results_agree_and_a_training_alone_gives_what_it_gives_among_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("letterpress.jobs.processes.n_cores", lambda: 1)
    main()
    rows = list(csv.reader((RESULTS / "curve.csv").read_text("utf-8").splitlines()))
    assert rows[0] == ["labels_per_class", "start", "seed", "accuracy"]
    points = [Point(int(n), start, int(seed), float(value)) for n, start, seed, value in rows[1:]]
    assert len({point[:3] for point in points}) == len(points) == 8
    assert len({point.accuracy for point in points}) > 2
    patch_threads(monkeypatch)
    again = measure_accuracies(CONFIG, OF_STAGE, RECORDS, FEATURES, "pretrained", 1)
    spread = [point.accuracy for point in points if point[1:3] == ("pretrained", 1)]
    assert spread == pytest.approx(again, abs=1e-4)
    metrics = json.loads((RESULTS / "metrics.json").read_text("utf-8"))
    printed = capsys.readouterr().out
    for name, gains in transfer_gains(points).items():
        assert metrics[name] == pytest.approx(dict(gains), abs=2e-3)
        assert f"{name}: transfer gains {100 * metrics[name]['transfer_gain']:+.1f} " in printed


def test_the_plot_is_the_same_in_any_order_and_holds_no_date_or_version(tmp_path: Path) -> None:
    points = [
        Point(n, start, seed, (n + 3 * STARTS.index(start) + seed) / 30)
        for n, start, seed in product((1, 2, 20), STARTS, (0, 1))
    ]
    for name, ordered in (("one.png", points), ("two.png", points[::-1])):
        plot_points(tmp_path / name, ordered)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert set(image.info) <= {"dpi"}


def test_missing_features_are_reported_and_older_results_are_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    patch_threads(monkeypatch)
    monkeypatch.setattr("letterpress.transfer.curve.local_map", starmap)
    FEATURES.unlink()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "curve.csv").write_bytes(b"older")
    with pytest.raises(PipelineError, match=f"{FEATURES}: missing. Run"):
        main()
    assert (RESULTS / "curve.csv").read_bytes() == b"older"
