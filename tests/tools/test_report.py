"""The report as its users get it: two commits of a real repository, and Markdown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.tools.conftest import PARAMS, Project
from tools.report import LARGEST, MOST_ROWS, report
from tools.revision import read_revision

BASE = "origin/main"
PREDICTIONS = "`letters, test`"


def sections(base: str = BASE, head: str = "HEAD") -> dict[str, str]:
    """The report's text by the title of its sections."""
    text = report(read_revision(base), read_revision(head))
    return dict(part.split("\n", 1) for part in text.split("\n## ")[1:])


def run(*words: str, folder: Path, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """Runs the report as a program."""
    return subprocess.run(
        [sys.executable, "-m", "tools.report", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )


def mcnemar(won: int, lost: int) -> float:
    """The chance that a fair coin lands as unevenly: both tails of the binomial."""
    n, fewer = won + lost, min(won, lost)
    return min(1.0, sum(comb(n, k) for k in range(fewer + 1)) / float(2 ** (n - 1)))


def test_a_change_that_helps_is_better(project: Project) -> None:
    wrong = [*range(60), *range(200, 212)]
    project.params["learning_rate"] = 0.1
    project.data["data/letters/weights.h5"] = "other weights"
    project.write_results(wrong, losses=[2.5, 0.5])
    project.reproduce()
    found = sections()
    assert (
        f"| {PREDICTIONS} | 75.00 (70.53 to 78.99) | 82.00 (77.94 to 85.45) | +7.00 "
        f"| **better** (40 won, 12 lost, p = {mcnemar(40, 12):.3g}, paired) |"
    ) in found["Is it really better?"]
    assert (
        "| `data/letters/metrics.json` | `accuracy` | 0.75 | 0.82 | +0.070000 |"
        in (found["Metrics"])
    )
    assert "| `learning_rate` | `1e-05` | `0.1` |" in found["Params"]
    assert (
        "| `train` | `params.yaml` | `data/letters/curves`, `data/letters/weights.h5` |"
        in (found["Stages"])
    )
    assert "write@letters" not in found["Stages"]


def test_a_change_that_hurts_is_worse(project: Project) -> None:
    project.write_results(range(140))
    project.reproduce()
    verdict = sections()["Is it really better?"]
    assert f"-10.00 | **worse** (0 won, 40 lost, p = {mcnemar(0, 40):.3g}, paired) |" in verdict


def test_a_change_that_does_nothing_is_told_as_such_in_all_sections(project: Project) -> None:
    project.write("README.md", "Other words\n")
    project.commit()
    found = sections()
    verdict = found.pop("Is it really better?")
    assert "+0.00 | no evidence of a difference (0 won, 0 lost, p = 1, paired) |" in verdict
    assert len(found) == 5
    for title, text in found.items():
        assert text.strip() == "No change.", title


def test_a_higher_accuracy_alone_is_no_evidence(project: Project) -> None:
    project.write_results([*range(91), *range(200, 205)])
    project.reproduce()
    p = mcnemar(9, 5)
    assert p == pytest.approx(0.424, abs=0.001)
    verdict = sections()["Is it really better?"]
    assert f"+1.00 | no evidence of a difference (9 won, 5 lost, p = {p:.3g}, paired)" in verdict


def test_other_test_images_under_the_same_names_are_not_paired(project: Project) -> None:
    project.params["seed"] = 2
    project.data["data/letters/tfrecords/test"] = "other records"
    project.data["data/letters/tfrecords"] = "other records.dir"
    project.write_results(range(60))
    project.reproduce()
    found = sections()
    assert "| `seed` | `1` | `2` |" in found["Params"]
    verdict = found["Is it really better?"]
    assert "unpaired: the test images are not the same" in verdict
    assert "**better** (p = " in verdict
    assert "won" not in verdict


def test_images_whose_records_are_not_in_the_lock_are_not_paired(project: Project) -> None:
    stages = project.pipeline["stages"]
    stages["evaluate"]["deps"].remove("data/letters/tfrecords/test")
    project.reproduce()
    project.write("README.md", "Other words\n")
    project.commit()
    assert "unpaired" in sections("HEAD~1")["Is it really better?"]


def test_a_commit_whose_records_were_files_can_be_compared_with(project: Project) -> None:
    """The older layout; nobody can tell that the images are the same."""
    older = {f"data/letters/tfrecords/{split}": f"{split}.tfrecord" for split in ("test", "train")}
    stages = project.pipeline["stages"]
    for path, name in older.items():
        file = f"data/letters/tfrecords/{name}"
        project.data[file] = project.data[path]
        for stage in ("train", "evaluate"):
            stages[stage]["deps"] = [file if d == path else d for d in stages[stage]["deps"]]
    project.reproduce()
    project.git("revert", "--no-edit", "--no-commit", "HEAD")
    project.write_results(range(60))
    new = Project(project.folder)
    new.reproduce()
    found = sections("HEAD~1")
    assert "unpaired: the test images are not the same" in found["Is it really better?"]
    assert "`data/letters/tfrecords/test.tfrecord`" in found["Stages"]
    assert "`data/letters/tfrecords/test`" in found["Stages"]


def test_the_confusions_that_moved_most_come_first(project: Project) -> None:
    project.write_results([*range(0, 100, 2), *range(1, 21, 2), *range(200, 300, 2)])
    project.reproduce()
    rows = sections()["Confusions that moved most"].splitlines()[3:]
    assert rows == [
        f"| {PREDICTIONS} | `A` | `C` | 50 | 100 |",
        f"| {PREDICTIONS} | `B` | `C` | 50 | 10 |",
    ]


def test_the_training_loss_is_drawn_before_and_after(project: Project) -> None:
    project.write_results(range(100), losses=[2.0, 1.0])
    project.reproduce()
    text = sections()["Training loss"]
    assert "`letters`: before in grey, after in blue" in text
    (chart,) = re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
    assert chart.splitlines()[1:] == [
        "xychart-beta",
        '  x-axis "epoch" 1 --> 2',
        '  y-axis "loss"',
        "  line [2.5, 1.25]",
        "  line [2, 1]",
    ]


def test_losses_of_another_number_of_epochs_share_no_axis_of_epochs(project: Project) -> None:
    project.write_results(range(100), losses=[2.0, 1.0, 0.5])
    project.reproduce()
    assert 'x-axis "% of training" 0 --> 100' in sections()["Training loss"]


def test_a_loss_that_is_not_finite_is_not_drawn(project: Project) -> None:
    project.write_results(range(100), losses=[2.0, float("nan")])
    project.reproduce()
    text = sections()["Training loss"]
    assert "The loss is not finite." in text
    assert "mermaid" not in text


def add_pipeline(project: Project) -> None:
    """A third pipeline: a stage with a metric, predictions and a curve of its own."""
    outs = ["metrics.json", "predictions.csv", "curves"]
    for out in outs:
        source, target = (project.folder / "data" / name / out for name in ("letters", "kana"))
        if source.is_dir():
            source = source / "plots/metrics/loss.tsv"
            target = target / "plots/metrics/loss.tsv"
        project.write(target.relative_to(project.folder).as_posix(), source.read_text())
    project.pipeline["stages"]["kana"] = {
        "cmd": "python -m stages.kana",
        "deps": ["stages/reader.py"],
        "outs": [{f"data/kana/{out}": {"cache": False}} for out in outs],
    }
    project.pipeline["metrics"].append("data/kana/metrics.json")
    project.reproduce()


@pytest.mark.parametrize("word", ["new", "removed"])
def test_what_is_on_one_side_only_is_shown(word: str, project: Project) -> None:
    add_pipeline(project)
    found = sections() if word == "new" else sections("HEAD", BASE)
    values = "|  | 0.75 |" if word == "new" else "| 0.75 |  |"
    assert f"`data/kana/metrics.json` | `accuracy` {values} {word} |" in found["Metrics"]
    assert f"{word}, nothing to compare with" in found["Is it really better?"]
    assert f"| `kana` | {word} |" in found["Stages"]
    assert ("after in blue" if word == "new" else "before in grey") in found["Training loss"]
    assert found["Training loss"].count("  line [") == 1


def test_thousands_of_changed_params_leave_room_for_the_rest(project: Project) -> None:
    project.params |= {f"key_{i:04}": f"{i} " * 30 for i in range(3000)}
    project.write_results(range(60), losses=[2.0, 1.0])
    project.reproduce()
    text = report(read_revision(BASE), read_revision("HEAD"))
    assert len(text.encode()) < LARGEST < 65_536
    assert f"And {3000 - MOST_ROWS} more." in text
    assert "**better**" in text
    assert text.rstrip().endswith("```")


def test_a_report_that_is_still_too_long_loses_whole_sections_and_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.report.LARGEST", 1500)
    project.params |= {f"key_{i:04}": "x" * 100 for i in range(100)}
    project.write_results(range(60), losses=[2.0, 1.0])
    project.reproduce()
    text = report(read_revision(BASE), read_revision("HEAD"))
    assert len(text) < 1500
    assert "**better**" in text
    assert "mermaid" not in text
    assert text.endswith("*The last sections were left out: a comment cannot be longer.*\n")


def test_nothing_that_a_change_names_breaks_the_table(project: Project) -> None:
    project.params["a|b"] = "`</td>` @everyone\n| c"
    project.reproduce()
    assert "| `a\\|b` | `none` | `'</td>' @everyone \\| c` |" in sections()["Params"]


def test_the_report_is_sorted_and_the_same_in_every_process(
    project: Project, tmp_path: Path
) -> None:
    project.params = {f"{name}.{i}": i for name in "zebra" for i in range(8)} | PARAMS
    add_pipeline(project)
    project.write_results(range(60), losses=[2.0, 1.0])
    project.reproduce()
    done = [
        run("--base", BASE, "--head", "HEAD", folder=project.folder, hash_seed=seed)
        for seed in ("1", "2")
    ]
    assert [(d.returncode, d.stderr) for d in done] == [(0, ""), (0, "")]
    assert done[0].stdout == done[1].stdout == report(read_revision(BASE), read_revision("HEAD"))
    found = sections()
    for title in ("Is it really better?", "Metrics", "Params", "Stages"):
        rows = re.findall(r"^\| `.*", found[title], re.MULTILINE)
        assert rows == sorted(rows), title
        assert len(rows) > 1, title


def test_the_report_is_written_to_a_file(project: Project, tmp_path: Path) -> None:
    out = tmp_path / "report.md"
    done = run("--base", BASE, "--out", str(out), folder=project.folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert out.read_text() == report(read_revision(BASE), read_revision("HEAD"))


def break_dvc_yaml(project: Project) -> None:
    project.write("dvc.yaml", "stages: [\n")


def delete_metrics(project: Project) -> None:
    (project.folder / "data/letters/metrics.json").unlink()


def delete_predictions(project: Project) -> None:
    (project.folder / "data/letters/predictions.csv").unlink()


def edit_code(project: Project) -> None:
    project.write("stages/evaluate.py", "edited\n")


def add_a_stage(project: Project) -> None:
    stage: dict[str, Any] = {"cmd": "true", "deps": ["stages/reader.py"], "outs": ["data/x"]}
    project.pipeline["stages"]["more"] = stage
    project.write_dvc_yaml()


def declare_no_metrics(project: Project) -> None:
    project.pipeline["metrics"] = []
    project.write_dvc_yaml()


def empty_metrics(project: Project) -> None:
    project.write("data/letters/metrics.json", "{}")
    project.write_lock()


def nothing(project: Project) -> None:
    pass


@pytest.mark.parametrize(
    ("base", "edit", "named"),
    [
        ("nowhere", nothing, "nowhere: no commit here: see git log"),
        (BASE, break_dvc_yaml, "HEAD: dvc.yaml is broken"),
        (BASE, delete_metrics, "HEAD: data/letters/metrics.json, which evaluate names, is missing"),
        (BASE, delete_predictions, "predictions.csv, which evaluate names, is missing"),
        (BASE, edit_code, "HEAD: stages/evaluate.py is not the file of evaluate in dvc.lock"),
        (BASE, add_a_stage, "HEAD: dvc.yaml and dvc.lock do not both have more"),
        (BASE, declare_no_metrics, "HEAD: dvc.yaml has no metrics"),
        (BASE, empty_metrics, "HEAD: data/letters/metrics.json has no metrics"),
    ],
)
def test_what_cannot_be_compared_fails_with_one_line(
    base: str, edit: Callable[[Project], None], named: str, project: Project, tmp_path: Path
) -> None:
    edit(project)
    project.commit()
    out = tmp_path / "report.md"
    assert_fails(run("--base", base, "--out", str(out), folder=project.folder), named)
    assert not out.exists()


def test_the_other_side_fails_as_well(project: Project) -> None:
    break_dvc_yaml(project)
    project.commit()
    done = run("--base", "HEAD", "--head", BASE, folder=project.folder)
    assert_fails(done, "HEAD: dvc.yaml is broken")


def test_a_shallow_clone_fails(project: Project, origin: Path, tmp_path: Path) -> None:
    words = ["git", "clone", "--quiet", "--depth", "1", f"file://{origin}", "shallow"]
    subprocess.run(words, cwd=tmp_path, check=True)
    done = run("--base", "HEAD~1", folder=tmp_path / "shallow")
    assert_fails(done, "HEAD~1: no commit here: the clone is shallow, fetch its history")


def test_a_folder_without_git_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert_fails(run("--base", "main", folder=tmp_path), "not a git repository")


def assert_fails(done: subprocess.CompletedProcess[str], named: str) -> None:
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert named in line
