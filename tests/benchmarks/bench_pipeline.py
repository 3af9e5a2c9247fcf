"""What DVC and processes cost: against a bare script, and when nothing is to be done."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from stages.mnist import fetch
from tests.benchmarks.conftest import Measuring
from tests.benchmarks.networks import seconds_of
from tests.conftest import ROOT, Params, copy_project, write_params

QUICK: Params = {
    "n_epochs": 5,
    "mnist": {"n_train_samples": 6400, "n_test_samples": 1000, "n_epochs": 1},
    "transfer": {"labels_per_class": [1, 10], "n_seeds": 2, "n_steps": 20},
}
BARE = ROOT / "tests" / "benchmarks" / "bare.py"


class Project(NamedTuple):
    """A copy of the project."""

    folder: Path
    params: Params

    def run(self, *command: object) -> None:
        """Runs Python in the folder, with its own code."""
        environment = os.environ | {
            "PYTHONPATH": str(self.folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        words = [sys.executable, *map(str, command)]
        done = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def seconds(self, *command: object) -> float:
        return seconds_of(lambda: self.run(*command))


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def new_project(folder: Path, quick: bool) -> Project:
    """Copies the project, and fetches the digits from the original's folder."""
    raw = ROOT / fetch.RAW
    assert raw.is_dir(), "run `make repro` first: it fetches the digits that this measures with"
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["fetch_mnist"]["sources"] = [f"file:{raw}"]
    for key, value in QUICK.items() if quick else ():
        params[key] = params[key] | value if isinstance(value, dict) else value
    folder.mkdir()
    copy_project(folder, params)
    project = Project(folder, params)
    git(folder, "init", "--quiet")
    project.run("-m", "dvc", "repro", "fetch_mnist")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "Copy the project")
    return project


class Twins(NamedTuple):
    """Two copies in which everything was made, and the seconds that it took."""

    ours: Project
    bare: Project
    ours_seconds: float
    bare_seconds: float


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory, request: Any) -> Twins:
    parent, quick = tmp_path_factory.mktemp("projects"), request.config.getoption("--quick")
    ours, bare = (new_project(parent / name, quick) for name in ("ours", "bare"))
    bare_seconds = bare.seconds(BARE)
    ours_seconds = ours.seconds("-m", "dvc", "repro")
    git(ours.folder, "add", "--all")
    git(ours.folder, "commit", "--quiet", "-m", "Make everything")
    return Twins(ours, bare, ours_seconds, bare_seconds)


def test_everything(measuring: Measuring, twins: Twins) -> None:
    measuring.ratio(
        "`dvc repro` of everything after the fetch / a bare script",
        lambda: twins.ours_seconds,
        lambda: twins.bare_seconds,
        unit="s",
        floor=1.2,
        aim=1.1,
        rounds=1,
    )


def test_no_op(measuring: Measuring, twins: Twins) -> None:
    seconds = measuring.seconds(lambda: twins.ours.seconds("-m", "dvc", "repro"), rounds=5)
    measuring.value("`dvc repro` with nothing to do", seconds, "s", 1, 0.6)


def test_experiment(measuring: Measuring, twins: Twins) -> None:
    params = copy.deepcopy(twins.bare.params)
    rates = iter((0.01, 0.009, 0.008, 0.007))

    def bare() -> float:
        write_params(twins.bare.folder, params | {"learning_rate": 0.01})
        return twins.bare.seconds(BARE, "finetune")

    measuring.ratio(
        "`dvc exp run -S learning_rate=0.01` / a bare script that fine-tunes and evaluates",
        lambda: twins.ours.seconds("-m", "dvc", "exp", "run", "-S", f"learning_rate={next(rates)}"),
        bare,
        unit="s",
        floor=1.8,
        aim=1.4,
        rounds=2,
    )


STAGES = [
    command.removeprefix("python -m ")
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    for commands in [stage.get("do", stage)["cmd"]]
    for command in ([commands] if isinstance(commands, str) else commands)
    if "${" not in command
] + ["stages.mnist.write_tfrecords", "stages.ascii_letter.write_tfrecords"]


@pytest.mark.parametrize("module", STAGES)
def test_start(measuring: Measuring, module: str) -> None:
    """What a process costs before its `main()` begins."""
    project = Project(ROOT, {})
    own = measuring.seconds(lambda: project.seconds("-c", f"import {module}"), rounds=3)
    report = (
        f"import sys, {module}\n"
        "from tests.benchmarks.growth import status\n"
        "print('yes' if 'tensorflow' in sys.modules else 'no', status('VmHWM'))"
    )
    words = [sys.executable, "-c", report]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tensorflow, megabytes = said.split()
    columns = {"seconds": own, "tensorflow": tensorflow, "megabytes": int(megabytes)}
    measuring.row("start", what=f"`{module}`", **columns)
