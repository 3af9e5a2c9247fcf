"""Committed results are believed only if the committed code makes them."""

import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.test_pipeline import Repository
from tests.tools.conftest import Project, run_tool
from tools.revision import Revision, Rows
from tools.verify import TRAINED, compare


def revision(records: str, weights: str, results: str = "3", **metrics: float) -> Revision:
    stages = {
        "write_tfrecords@letters": {"outs": [{"path": "data/tfrecords", "md5": records}]},
        "train_flowers": {"outs": [{"path": "data/weights.h5", "md5": weights}]},
        "evaluate": {"outs": [{"path": "data/predictions.csv", "md5": results}]},
    }
    hashes = {"data/weights.h5": weights}
    return Revision("", {}, stages, hashes, {("m.json", k): v for k, v in metrics.items()}, {})


def test_data_must_be_equal_and_other_weights_must_be_as_good(
    capsys: pytest.CaptureFixture[str],
) -> None:
    committed = revision("1", "2", accuracy=0.9, transfer_gain=0.05)
    assert compare(committed, committed) == []
    assert compare(committed, revision("1", "9", "9", accuracy=0.915, transfer_gain=0.14)) == []
    printed = capsys.readouterr().out
    assert "differs: data/weights.h5" in printed
    assert "m.json accuracy: 0.9 -> 0.915" in printed
    # As two trainings of this project differ: small groups by more than whole splits.
    metrics = {"accuracy_unseen": 0.954, "none_sure_new_unseen": 0.181, "recall.q": 0.9}
    other = {"accuracy_unseen": 0.944, "none_sure_new_unseen": 0.133, "recall.q": 0.7}
    assert compare(revision("1", "2", "3", **metrics), revision("1", "9", "9", **other)) == []
    for made, problem in (
        (revision("9", "9", accuracy=0.9, transfer_gain=0.05), "write_tfrecords@letters: data"),
        (revision("1", "2", "9", accuracy=0.9, transfer_gain=0.05), "evaluate: the same weights"),
        (revision("1", "9", accuracy=0.86, transfer_gain=0.05), "accuracy is more than"),
        (revision("1", "9", accuracy=float("nan"), transfer_gain=0.05), "accuracy is more than"),
        (revision("1", "9", accuracy=0.9, transfer_gain=0.16), "transfer_gain is more than"),
        (revision("1", "9", accuracy=0.9), "transfer_gain is more than"),
    ):
        (failure,) = compare(committed, made)
        assert problem in failure
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    assert all(any(name.startswith(start) for name in stages) for start in TRAINED)


def test_predictions_within_the_tolerance_must_not_be_significantly_better() -> None:
    def predicted(n_wrong: int) -> Revision:
        rows: Rows = {
            str(i): {"actual": "a", "predicted": "b" if i < n_wrong else "a"} for i in range(1000)
        }
        hashes = {"data/mnist/tfrecords/test": "1"}
        path = "data/mnist/predictions.csv"
        return Revision("", {}, {}, hashes, {}, {path: rows})

    assert compare(predicted(20), predicted(30)) == []  # p = 0.002
    (failure,) = compare(predicted(20), predicted(32))
    assert "predictions.csv: significantly other predictions (p = 0.000488)" in failure


# An evaluation whose weights are the number of images that it gets wrong.
EVALUATE = """
import json
from pathlib import Path

n_wrong = int(Path("data/letters/weights.h5").read_text())
rows = [f"{i}.png,A,{'C' if i < n_wrong else 'A'}" for i in range(400)]
folder = Path("data/letters")
(folder / "predictions.csv").write_text("\\n".join(["filename,actual,predicted", *rows]))
(folder / "metrics.json").write_text(json.dumps({"accuracy": 1 - n_wrong / 400}))
"""


def test_forged_predictions_metrics_and_hashes_are_found(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    project.write("stages/__init__.py", "")  # else the package of this clone wins
    project.write("stages/evaluate.py", EVALUATE)
    project.write("data/letters/weights.h5", "100")
    for stage in ("write", "train"):
        project.record(stage)
    project.run("dvc repro --quiet evaluate")
    project.commit()
    done = run_tool("verify", "--here")
    assert done.stdout.endswith("Verified.\n"), done
    # Results that 60 wrong images would give, with hashes in dvc.lock that agree.
    weights = Path("data/letters/weights.h5")
    weights.write_text("60")
    project.run("python stages/evaluate.py")
    weights.write_text("100")
    project.record("evaluate")
    project.commit()
    project.run("dvc repro --quiet")  # believes them
    done = run_tool("verify", "--here")
    changed = "data/letters/metrics.json, data/letters/predictions.csv"
    assert done.returncode == 1
    assert f"evaluate: the same weights give other results ({changed})" in done.stderr


def test_the_comment_is_computed_by_the_base_branch_and_runs_nothing_of_a_fork(
    project: Project, tmp_path: Path
) -> None:
    """The step of report-comment.yml, in a clone of main, with the fork's commit in the origin."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/report-comment.yml").read_text("utf-8"))
    (step,) = [step for step in workflow["jobs"]["report"]["steps"] if "tools report" in str(step)]
    stolen = tmp_path / "stolen"
    code = f"open({str(stolen)!r}, 'w')\n"
    for name in ("dvc.py", "json.py", "sitecustomize.py", "tools/__main__.py"):
        project.write(name, code)
    project.write(".dvc/config", "[hydra]\nenabled = true\nplugins_path = .\n")
    project.write_results(wrong=range(60))
    project.reproduce()
    origin, base, work = tmp_path / "origin", tmp_path / "base", Repository(tmp_path)
    work.git("clone", "--quiet", "--bare", "--branch=main", str(project.folder), str(origin))
    head, main = (
        work.git("-C", str(origin), "rev-parse", ref).strip() for ref in ("HEAD", "HEAD~1")
    )
    work.git("-C", str(origin), "update-ref", "refs/pull/7/head", head)
    work.git("-C", str(origin), "update-ref", "refs/heads/main", main)
    work.git("clone", "--quiet", f"file://{origin}", str(base))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gh").symlink_to("/bin/true")
    path = [tmp_path / "bin", Path(sys.executable).parent, os.environ["PATH"]]
    clone = Repository(
        base,
        PATH=os.pathsep.join(map(str, path)),
        PYTHONPATH=str(ROOT),  # the code of main, as the clone lacks it
        GITHUB_STEP_SUMMARY=os.devnull,
        NUMBER="7",
        BASE_SHA=main,
        HEAD_SHA=head,
    )
    clone.run("bash", "-eo", "pipefail", "-c", step["run"])
    text = (base / "report.md").read_text(encoding="utf-8")
    assert "the commits differ in what checks them: read tools" in text
    assert "**better** (40 won, 0 lost" in text
    assert not stolen.exists()
