"""Trainings with several seeds: known differences, and real experiments of a fake training."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tools.conftest import Project
from tools import seeds
from tools.__main__ import main

TRAINING = """
import json, sys
from pathlib import Path
import yaml
params = yaml.safe_load(open("params.yaml"))
with open(sys.argv[1], "a") as log:
    log.write("trained\\n")
accuracy = 0.9 + 0.0002 * params["seed"] - 0.05 * (params["learning_rate"] > 0.01)
metrics = {"accuracy": accuracy, "accuracy_validation": accuracy - 0.1}
metrics["labels_5"] = {"transfer_gain": accuracy - 0.8}
for pipeline in ("mnist", "ascii_letter"):
    target = Path("data", pipeline, "metrics.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(metrics))
"""


def simulated(n_seeds: int, better_by: float, seed: int) -> seeds.Results:
    values = np.random.default_rng(seed).normal(98.5 + better_by, 0.3, n_seeds)
    return {"letters, validation": list(values)}


def test_a_worse_recipe_is_found_and_another_seed_is_noise() -> None:
    base, worse = simulated(5, 0, seed=1), simulated(5, -2, seed=2)
    assert seeds.comparison(base, worse).endswith("**worse** |")
    assert seeds.comparison(worse, base).endswith("**better** |")
    assert seeds.comparison(base, base).endswith("| +0.00 | +0.00 to +0.00 | within seed noise |")
    pairs = [(simulated(5, 0, seed), simulated(5, 0, seed + 1000)) for seed in range(1000)]
    noise = [seeds.comparison(*pair).endswith("within seed noise |") for pair in pairs]
    assert 0.935 <= np.mean(noise) <= 0.965


def test_the_summary_shows_mean_standard_deviation_and_interval() -> None:
    trainings = {"digits, test": [98.0, 99.0, 100.0]}
    # Student's t for 2 degrees of freedom is 4.303: 4.303 * 1 / sqrt(3) = 2.48.
    last = "| digits, test | 99.00 % | 1.00 | 96.52 to 101.48 % |"
    assert seeds.summary(trainings).splitlines()[-1] == last


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["tools", "seeds", *arguments])
    main()


@pytest.fixture
def log(project: Project, tmp_path: Path) -> Path:
    """Makes the project's training fake, and fast; returns the file with a line per training."""
    log = tmp_path / "log"
    project.write("train.py", TRAINING)
    paths = [f"data/{name}/metrics.json" for name in ("mnist", "ascii_letter", "transfer")]
    *outs, gains = [{path: {"cache": False}} for path in paths]
    command = f"{sys.executable} train.py {log}"
    params = ["seed", "learning_rate"]
    stage = {"cmd": command, "deps": ["train.py"], "params": params, "outs": outs}
    copy = ["mkdir -p data/transfer", f"cp {paths[0]} {paths[2]}"]
    transfer = {"cmd": copy, "deps": paths[:1], "outs": [gains]}
    project.pipeline = {"stages": {"evaluate": stage, "transfer_curve": transfer}, "metrics": paths}
    project.params["seed"] = 10
    project.write("docs/seeds.md", "Seeds\n<!-- seeds --><!-- /seeds -->\n")
    project.write_yaml()
    project.run("dvc repro --quiet")
    project.commit()
    log.unlink()
    return log


@pytest.mark.long
def test_commits_are_trained_once_per_seed_as_experiments(
    project: Project, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    project.params["learning_rate"] = 0.02
    project.write_yaml()
    project.run("dvc repro --quiet")
    project.commit()
    log.unlink()
    call(monkeypatch, "2", "HEAD~1")
    printed = capfd.readouterr().out
    verdicts = dict(re.findall(r"^\| (\w.*?, .+?) \|.*\| (.+) \|$", printed, re.MULTILINE))
    assert list(verdicts) == [
        *(f"{n}, {s}" for s in ("validation", "test") for n in ("digits", "letters")),
        "transfer gain, labels per class: 5",
    ]
    assert set(verdicts.values()) == {"**worse**"}
    # Seed 10 of either commit has been trained: it is in the params.
    assert len(log.read_text("utf-8").splitlines()) == 2
    project.run("git status --porcelain")
    assert not capfd.readouterr().out
    call(monkeypatch, "2")
    page = Path("docs/seeds.md").read_text("utf-8")
    assert "seeds 10, 20:\n\n| result | mean" in page
    assert "| digits, test | 85.30 % | 0.14 | 84.03 to 86.57 % |" in page
    assert len(log.read_text("utf-8").splitlines()) == 2
    project.run("git for-each-ref --format=%(refname) refs/exps")
    names = re.findall(r"^refs/exps/\w+/\w+/(seed-\d\d)$", capfd.readouterr().out, re.MULTILINE)
    assert sorted(names) == ["seed-10", "seed-10", "seed-20", "seed-20"]


@pytest.mark.long
def test_what_cannot_be_trained_is_one_line(
    project: Project, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, problem in (
        (["1"], "seeds: Input should be greater than or equal to 2"),
        (["2", "nothing"], "nothing: no such commit"),
    ):
        with pytest.raises(SystemExit, match=f"error: {problem}"):
            call(monkeypatch, *arguments)
    project.write("train.py", "raise SystemExit('failed')\n")
    with pytest.raises(SystemExit, match="uncommitted changes"):
        call(monkeypatch, "2")
    project.commit()
    with pytest.raises(SystemExit, match=r"error: Command.*dvc.*exp.*run"):
        call(monkeypatch, "2")
