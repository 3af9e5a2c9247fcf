"""The search: real experiments of a fake training, and Optuna on a known function."""

import json
import math
import re
import sys
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from tests.tools.conftest import GIT, Project
from tests.tools.test_seeds import log
from tools import search
from tools.report.revision import git

__all__ = ["log"]  # a fixture

SPACE = {
    "learning_rate": FloatDistribution(1e-5, 0.1, log=True),
    "seed": CategoricalDistribution([1, 2]),
}


def call(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr(sys, "argv", ["search", str(n)])
    search.main()


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
    refs = git("for-each-ref", "--format=%(refname)").decode()
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


def test_no_test_split_is_looked_at() -> None:
    assert search.KEY.endswith("_validation")
