"""The table of the metrics that `make repro` ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.metrics import main, table

RESULTS = {
    "mnist": {"accuracy": 0.9925, "accuracy_low": 0.99061, "accuracy_high": 0.994012},
    "ascii_letter": {
        f"accuracy{split}{bound}": 1.0
        for split in ("", "_unseen")
        for bound in ("", "_low", "_high")
    },
    "transfer": {
        f"labels_{n}": {
            "transfer_gain": 0.028,
            "transfer_gain_low": -0.01,
            "transfer_gain_high": 0.05,
        }
        for n in (1, 20)
    },
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, metrics in RESULTS.items():
        path = tmp_path / "data" / name / "metrics.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(metrics), encoding="utf-8")
    return tmp_path / "data"


def test_each_line_is_as_long_as_the_others_and_fits_a_terminal(data: Path) -> None:
    lengths = {len(line) for line in table(data)}
    assert len(lengths) == 1
    assert max(lengths) <= 100


def test_shares_are_in_percent_and_gains_in_points_with_their_intervals(data: Path) -> None:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(data)]
    assert cells[2][1:] == ["99.25 %", "99.06 to 99.40 %"]
    assert cells[3][1:] == ["100.00 %", "100.00 to 100.00 %"]
    assert cells[-1] == [
        "gain from the digits' features, labels a class: 20",
        "+2.8 points",
        "-1.0 to +5.0 points",
    ]


def test_metrics_that_are_missing_are_one_line(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "transfer" / "metrics.json").unlink()
    monkeypatch.chdir(data.parent)
    with pytest.raises(SystemExit) as ended:
        main()
    path = Path("data/transfer/metrics.json")
    assert ended.value.code == f"error: {path} is missing: run `make repro`"
    assert capsys.readouterr().out == ""
