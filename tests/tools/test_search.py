"""The search: real experiments of a fake training, and Optuna on a known function."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from tests.tools.conftest import GIT, Project
from tests.tools.test_seeds import log
from tools import search
from tools.__main__ import main
from tools.repository import git

__all__ = ["log"]  # a fixture

SPACE = {
    "learning_rate": FloatDistribution(1e-5, 0.1, log=True),
    "seed": CategoricalDistribution([1, 2]),
}


def call(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr(sys, "argv", ["tools", "search", str(n)])
    main()


@pytest.mark.long
def test_an_interrupted_search_resumes_with_the_same_proposals(
    project: Project, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search, "SPACE", SPACE)
    for key, value in GIT.items():
        monkeypatch.setenv(key, value)
    call(monkeypatch, 3)
    found = re.findall(r"^search-\d: .*", capfd.readouterr().out, re.MULTILINE)
    assert len(log.read_text("utf-8").splitlines()) == len(found) == len(set(found)) == 3
    assert not git("status", "--porcelain")
    refs = git("for-each-ref", "--format=%(refname)")
    git("update-ref", "-d", *re.findall(r"^refs/exps/\S+/search-3$", refs, re.MULTILINE))
    call(monkeypatch, 3)
    printed = capfd.readouterr().out
    assert re.findall(r"^search-\d: .*", printed, re.MULTILINE) == found
    best = max(found, key=lambda line: float(re.findall(r"([\d.]+)%", line)[0]))
    assert f"Best on validation: {best.split(':')[0]}." in printed
    project.write("train.py", "raise SystemExit('failed')\n")
    with pytest.raises(SystemExit, match="uncommitted changes"):
        call(monkeypatch, 4)


def test_the_best_of_thirty_is_near_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SPACE", SPACE)
    trials: list[FrozenTrial] = []
    for number in range(1, 31):
        chosen = {key: json.loads(text) for key, text in search.propose(number, trials).items()}
        value = -abs(math.log10(chosen["learning_rate"]) + 3) - (chosen["seed"] == 2)
        trials.append(create_trial(params=chosen, distributions=SPACE, value=value))
    best = max(trials, key=lambda trial: trial.value or -9)
    assert best.params["seed"] == 1
    assert 10**-3.2 < best.params["learning_rate"] < 10**-2.8


def test_an_experiment_that_fails_is_left_out_unless_it_is_the_first(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = "search-2"

    def run(commit: str, name: str, stages: list[str], params: dict[str, str]) -> str:
        if name == failing:
            raise subprocess.CalledProcessError(1, "dvc exp run")
        return name

    def read(name: str) -> FrozenTrial:
        params = {"learning_rate": 0.01, "seed": 1}
        return create_trial(params=params, distributions=SPACE, value=int(name[-1]) / 10)

    monkeypatch.setattr(search, "run_experiment", run)
    monkeypatch.setattr(search, "read", read)
    call(monkeypatch, 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "search-2: failed, left out"
    assert lines[-1] == "Best on validation: search-3. Take it with `dvc exp apply search-3`"
    failing = "search-1"
    with pytest.raises(SystemExit, match="exp run"):
        call(monkeypatch, 3)


def test_ctrl_c_ends_with_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "run_experiment", interrupt)
    with pytest.raises(SystemExit) as stopped:
        call(monkeypatch, 3)
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_no_test_split_is_looked_at() -> None:
    assert search.KEY.endswith("_validation")
