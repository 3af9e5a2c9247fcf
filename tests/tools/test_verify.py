import json
from pathlib import Path

import pytest
import yaml

from tools.verify import TOLERANCE, TRAINED, compare

METRICS = "data/letters/metrics.json"
STAGES = {
    "write_tfrecords@letters": {"data/letters/tfrecords": "1.dir"},
    "train_mnist": {"data/mnist/weights.h5": "2"},
    "evaluate": {METRICS: "3"},
    "fetch": {},
}


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return write(tmp_path / "ours", {}, accuracy=0.9)


def write(folder: Path, changed: dict[str, str], **metrics: float) -> Path:
    """Writes a dvc.lock in which these outputs have another hash, and the metrics."""
    stages = {
        stage: {
            "outs": [{"path": path, "md5": changed.get(path, md5)} for path, md5 in outs.items()]
        }
        for stage, outs in STAGES.items()
    }
    (folder / METRICS).parent.mkdir(parents=True)
    (folder / METRICS).write_text(json.dumps(metrics), encoding="utf-8")
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    return folder


def test_the_same_locks_are_identical_stage_by_stage(
    ours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(ours, ours) == []
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [[stage, "identical"] for stage in sorted(STAGES)]


def test_other_data_fails(ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = write(tmp_path / "theirs", {"data/letters/tfrecords": "9.dir"}, accuracy=0.9)
    (failure,) = compare(ours, theirs)
    assert failure.startswith("write_tfrecords@letters made other data")
    assert "differs: data/letters/tfrecords" in capsys.readouterr().out


def test_other_weights_with_near_metrics_pass_and_it_is_said_by_how_much(
    ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {"data/mnist/weights.h5": "9", METRICS: "9"}
    theirs = write(tmp_path / "theirs", changed, accuracy=0.9 + TOLERANCE / 2)
    assert compare(ours, theirs) == []
    printed = capsys.readouterr().out
    assert "differs: data/mnist/weights.h5" in printed
    assert f"{METRICS} accuracy: 0.9 -> " in printed
    assert f"({TOLERANCE / 2:+.6f})" in printed


@pytest.mark.parametrize("accuracy", [0.9 - 2 * TOLERANCE, 0.9 + 2 * TOLERANCE, float("nan")])
def test_far_metrics_fail(accuracy: float, ours: Path, tmp_path: Path) -> None:
    theirs = write(tmp_path / "theirs", {METRICS: "9"}, accuracy=accuracy)
    (failure,) = compare(ours, theirs)
    assert failure.startswith(f"{METRICS}: accuracy is further than")


def test_a_metric_on_one_side_only_fails(ours: Path, tmp_path: Path) -> None:
    theirs = write(tmp_path / "theirs", {METRICS: "9"}, accuracy=0.9, more=1.0)
    (failure,) = compare(ours, theirs)
    assert failure.startswith(f"{METRICS}: more is further than")


def test_the_trained_stages_are_those_of_dvc_yaml() -> None:
    root = Path(__file__).parent.parent.parent
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert set(TRAINED) <= stages.keys()


@pytest.mark.parametrize(("gain", "n_failures"), [(0.14, 0), (-0.04, 0), (0.16, 1)])
def test_what_transfer_gains_may_vary_more(tmp_path: Path, gain: float, n_failures: int) -> None:
    ours = write(tmp_path / "ours", {}, transfer_gain=0.05)
    theirs = write(tmp_path / "theirs", {METRICS: "9"}, transfer_gain=gain)
    assert len(compare(ours, theirs)) == n_failures
