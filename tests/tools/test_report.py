"""The report as its readers get it: two commits of a real repository, and Markdown."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from letterpress.core.errors import PipelineError
from tests.conftest import ROOT
from tests.tools.conftest import N_IMAGES, Project, run_tool
from tools.report import CUT, LARGEST, MOST_ROWS, report
from tools.revision import Revision, Rows, read_revision

BASE = "origin/main"
VERDICTS = "Is it really better?"
METRICS = "data/letters/metrics.json"
PREDICTIONS = "data/letters/predictions.csv"
FILES = "Code, data and outputs (MD5)"
RESULTS = ("metrics.json", "predictions.csv")


def sections(base: str = BASE, head: str = "HEAD") -> dict[str, str]:
    """Returns the text of each section of the report."""
    text = report(read_revision(base), read_revision(head))
    return dict(part.split("\n", 1) for part in text.split("\n## ")[1:])


def run(base: str, out: str) -> subprocess.CompletedProcess[str]:
    """Runs the tool in another process, with another order of sets."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-m", "tools", "report", base, "HEAD", out]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_commit_is_read_from_git_alone(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.run("rm dvc.lock")
    project.write(METRICS, "{}")
    monkeypatch.chdir(project.folder / "stages")
    revision = read_revision("HEAD")
    assert revision.params == {"seed": 1, "learning_rate": 0.00001, "letters.size": 32}
    assert sorted(revision.stages) == ["evaluate", "train", "write@letters"]
    assert revision.metrics == {(METRICS, "accuracy"): 0.75, (METRICS, "loss"): 2.5}
    assert len(revision.predictions[PREDICTIONS]) == N_IMAGES


def test_an_improvement_shows_in_every_section(project: Project) -> None:
    project.params["learning_rate"] = 0.1
    project.write_results([*range(60), *range(200, 212)])
    project.reproduce(weights="better weights")
    found = sections()
    # p is the sum of comb(52, k) for k <= 12, over 2**51: both tails of a fair coin.
    verdict = "**better** (40 won, 12 lost, p = 0.000128)"
    accuracies = "| 75.00% | 82.00% |"
    assert f"| `letters, test` {accuracies} {verdict} |" in found[VERDICTS]
    assert f"| `{METRICS}` | `accuracy` | `0.75` | `0.82` | +0.07 |" in found["Metrics"]
    assert "| `learning_rate` | `1e-05` | `0.1` | +0.09999 |" in found["Params"]
    paths = re.findall(r"^\| `(\S+)` \| `\w{32}\S* \| `\w{32}", found[FILES], re.MULTILINE)
    assert paths == [f"data/letters/{name}" for name in ("curves", *RESULTS, "weights.h5")]


def test_worse_and_undecided_results(project: Project) -> None:
    for wrong, verdict in (
        (range(140), "65.00% | **worse** (0 won, 40 lost, p = 1.82e-12)"),
        (
            [*range(91), *range(200, 205)],
            "76.00% | no evidence of a difference (9 won, 5 lost, p = 0.424)",
        ),
    ):
        project.write_results(wrong)
        project.reproduce()
        assert verdict in sections()[VERDICTS]


def test_a_better_result_in_few_families_is_no_evidence(project: Project) -> None:
    for wrong in (range(100), range(60)):
        project.write_results(wrong, family_size=10)
        project.reproduce()
    project.run("git branch base HEAD~1")
    # Four families of ten images: each has one of two signs, 2 of 16 sums are as far from zero.
    assert "no evidence of a difference (40 won, 0 lost, p = 0.125)" in sections("base")[VERDICTS]


def test_images_that_may_differ_are_not_compared(project: Project) -> None:
    project.write_results(range(60))
    project.reproduce(test="other records")
    assert "not compared: the images are not the same" in sections()[VERDICTS]
    project.stages["evaluate"]["deps"].remove("data/letters/tfrecords/test")
    project.reproduce()
    assert "not compared" in sections("HEAD")[VERDICTS]


def test_a_new_pipeline_is_shown_the_same_in_every_process(project: Project) -> None:
    project.write_results(range(60))
    project.write_results(range(100), name="kana")
    outs = [f"data/kana/{name}" for name in ("metrics.json", "predictions.csv", "curves")]
    project.stages["kana"] = {"cmd": "true", "outs": [{out: {"cache": False}} for out in outs]}
    project.pipeline["metrics"].append(outs[0])
    project.reproduce()
    for word, values, commits in (
        ("new", "|  | `0.75` |", (BASE, "HEAD")),
        ("removed", "| `0.75` |  |", ("HEAD", BASE)),
    ):
        found = sections(*commits)
        assert f"`data/kana/metrics.json` | `accuracy` {values} {word} |" in found["Metrics"]
        assert f"{word}, nothing to compare with" in found[VERDICTS]
        assert re.search(rf"^\| `data/kana/curves` .*\| {word} \|$", found[FILES], re.MULTILINE)
        for title in (VERDICTS, "Metrics", FILES):
            rows = re.findall(r"^\| `.*", found[title], re.MULTILINE)
            assert rows == sorted(rows)
    done = run(BASE, "report.md")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = report(read_revision(BASE), read_revision("HEAD"))
    assert Path("report.md").read_text(encoding="utf-8") == text


def test_data_that_dvc_add_tracks_are_a_dependency(project: Project) -> None:
    project.write("data/letters/raw/a.png", "image")
    project.run("dvc add --quiet data/letters/raw")
    project.stages["write"]["do"]["deps"].append("data/letters/raw")
    project.reproduce()
    assert "data/letters/raw" in read_revision("HEAD").hashes


def test_long_and_hostile_params_leave_room_for_the_rest(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.params |= {f"key_{i:04}": f"{i} " * 30 for i in range(3000)}
    project.params["a|b"] = "`</td>` @everyone\n| c"
    project.reproduce()
    revisions = read_revision(BASE), read_revision("HEAD")
    text = report(*revisions)
    assert len(text.encode()) < LARGEST < 65_000
    assert "| `a\\|b` |  | `'</td>' @everyone \\| c` | new |" in text
    assert f"And {3001 - MOST_ROWS} more." in text
    assert f"## {FILES}" in text
    monkeypatch.setattr("tools.report.LARGEST", 1500)
    text = report(*revisions)
    assert len(text.removesuffix(CUT)) <= 1500
    assert VERDICTS in text
    assert text.endswith(f"|{CUT}")


def test_uncommitted_changes_and_equal_commits_are_reported(project: Project) -> None:
    project.params["seed"] = 2
    project.write_yaml()
    done = run_tool("report", BASE, "HEAD", "report.md")
    first, second = Path("report.md").read_text(encoding="utf-8").split("\n\n")[:2]
    assert first.startswith("> **the workspace has uncommitted changes. ")
    assert second.startswith("> **base and head are the same commit ")
    warnings = [f"warning: {note[4:-2]}" for note in (first, second)]
    assert (done.returncode, done.stderr.splitlines()) == (0, warnings)
    found = sections()
    assert "no evidence of a difference (0 won, 0 lost, p = 1)" in found.pop(VERDICTS)
    assert [text.strip() for text in found.values()] == ["No change."] * 3


TWICE = "filename,actual,predicted\na,b,b\na,b,c\n"
EDITS: dict[str, tuple[Callable[[Project], object], str]] = {
    "code": (lambda p: p.write("stages/train.py", "edited"), "stage train changed"),
    "no code": (lambda p: p.run("rm stages/train.py"), "stages/train.py: no such file"),
    "param": (lambda p: p.params["letters"].update(size=64), "stage write@letters changed"),
    "metric": (lambda p: p.write(METRICS, '{"accuracy": 1}'), "stage evaluate changed"),
    "no predictions": (lambda p: p.run(f"rm {PREDICTIONS}"), f"{PREDICTIONS}: not readable"),
    "command": (lambda p: p.stages["train"].update(cmd="true"), "stage train changed"),
    "out": (lambda p: p.stages["train"]["outs"].append("more.h5"), "it lacks more.h5 of stage"),
    "new stage": (lambda p: p.stages.update(more={"cmd": "true", "outs": ["x"]}), "it lacks x of"),
    "no stage": (lambda p: p.stages.pop("evaluate"), "dvc.yaml has no stage evaluate"),
    "no metric file": (lambda p: p.run(f"rm {METRICS}"), f"{METRICS}: not readable"),
    "no metrics": (lambda p: p.pipeline.update(metrics=[]), "dvc.yaml: no metrics"),
    "weights": (lambda p: p.reproduce("evaluate", weights="x"), "stage evaluate changed"),
    "not JSON": (lambda p: p.write(METRICS, "{"), "JSONDecodeError"),
    "no numbers": (lambda p: p.write(METRICS, '{"text": "x", "ok": true}'), "no metrics"),
    "no column": (lambda p: p.write(PREDICTIONS, "filename,actual\na,b\n"), "without actual or"),
    "twice": (lambda p: p.write(PREDICTIONS, TWICE), "duplicate filename"),
    "no list": (lambda p: p.pipeline.update(metrics=3), "dvc.yaml: not readable (TypeError"),
    "not UTF-8": (lambda p: p.params.update(a="\udcff"), "params.yaml: not readable as YAML"),
    "link": (lambda p: p.run(f"ln -sf /etc/passwd {PREDICTIONS}"), f"{PREDICTIONS}: not readable"),
}


@pytest.mark.parametrize("name", EDITS)
def test_results_that_do_not_belong_to_the_commit_are_an_error(name: str, project: Project) -> None:
    edit, problem = EDITS[name]
    edit(project)
    project.write_yaml()
    project.commit()
    assert_error("HEAD", problem)


def assert_error(name: str, problem: str) -> None:
    with pytest.raises(PipelineError) as caught:
        read_revision(name)
    assert re.fullmatch(f"{name}: .*{re.escape(problem)}.*", str(caught.value))


def test_an_error_is_one_line_and_writes_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_error("--all", "no such commit")
    project.commit()
    project.run(f"git clone --quiet --depth 1 file://{project.folder} ../shallow")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for folder, problem in (
        ("shallow", "fetch the history if the clone is shallow"),
        ("empty", "not a git repository"),
    ):
        monkeypatch.chdir(tmp_path / folder)
        done = run_tool("report", "HEAD~1", "HEAD", "report.md")
        assert done.returncode == 1
        assert re.fullmatch(f"error: .*{problem}.*\n", done.stderr)
        assert not Path("report.md").exists()


def simulated(seed: int, worse_by: float = 0.0) -> Revision:
    """Returns the results of a training: seeds change which families and glyphs it gets wrong."""
    recipe, training = np.random.default_rng(0), np.random.default_rng(seed)
    predictions: dict[str, Rows] = {}
    for split in ("", "_validation", "_unseen"):
        hard = recipe.normal(4, 1, (20, 1)) + recipe.normal(0, 2, (20, 52))  # in logits
        noise = training.normal(0, 0.7, (20, 1)) + training.normal(0, 1, (20, 52))
        right = training.random((20, 52)) < expit(hard + noise - worse_by)
        predictions[f"data/ascii_letter/predictions{split}.csv"] = {
            f"{family}/{glyph}": {"actual": "a", "predicted": "ba"[one], "family": str(family)}
            for (family, glyph), one in np.ndenumerate(right.astype(int))
        }
    for split in ("", "_validation"):
        logits = recipe.normal(9, 3, 2000) + training.normal(0, 1, 2000) - worse_by
        right = training.random(2000) < expit(logits)
        predictions[f"data/mnist/predictions{split}.csv"] = {
            str(i): {"actual": "1", "predicted": "71"[one]}
            for i, one in enumerate(right.astype(int))
        }
    splits = "mnist/tfrecords", "ascii_letter/tfrecords"
    hashes = {f"data/{s}/{n}": "0" for s in splits for n in ("test", "validation", "unseen")}
    ends = {"": 0.75, "_low": 0.5, "_high": 1.0}
    file = "data/mnist/metrics.json"
    metrics = {(file, f"accuracy_validation{end}"): ends[end] for end in ends}
    return Revision(str(seed), {}, {}, hashes, metrics, predictions)


def n_verdicts(text: str) -> int:
    return len(re.findall(r"\*\*(better|worse)\*\*", text))


def test_another_seed_is_no_evidence_and_a_worse_recipe_is() -> None:
    reports = [report(simulated(seed), simulated(seed + 1)) for seed in range(1, 201, 2)]
    assert sum(n_verdicts(text) > 0 for text in reports) <= 5
    assert all(text.count("no evidence") >= 3 for text in reports)
    worse = report(simulated(1), simulated(2, worse_by=2))
    assert worse.count("**worse**") == 5
    assert "| `mnist, validation` | 75.00% (50.00% to 100.00%) |" in worse
