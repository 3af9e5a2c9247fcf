"""The cost of DVC and of its processes: compared with a plain script, and with nothing to do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.benchmarks.conftest import Measuring, rounded
from tests.benchmarks.networks import seconds_of
from tests.conftest import ROOT, Params, write_params

BARE = ROOT / "tests" / "benchmarks" / "bare.py"


class Project(NamedTuple):
    """A copy of the project, or another one."""

    folder: Path

    def seconds(self, *command: object) -> float:
        """Runs Python in the folder, with its code; returns the seconds that it takes."""
        environment = os.environ | {
            "PYTHONPATH": str(self.folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        words = [sys.executable, *map(str, command)]

        def run() -> None:
            done = subprocess.run(
                words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

        return seconds_of(run)


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def one_stage(folder: Path) -> Project:
    """Makes a repository with one stage, which is up to date."""
    folder.mkdir()
    project = Project(folder)
    git(folder, "init", "--quiet")
    project.seconds("-m", "dvc", "init")
    stage = {"cmd": "echo one > one.txt", "outs": ["one.txt"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": stage}}), "utf-8")
    project.seconds("-m", "dvc", "repro")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "Make one stage")
    return project


def clone(folder: Path) -> Project:
    """Clones HEAD, with all that it made in the shared cache."""
    git(ROOT, "clone", "--quiet", ".", str(folder))
    project = Project(folder)
    project.seconds("-m", "dvc", "cache", "dir", "--local", ROOT / ".dvc/cache")
    project.seconds("-m", "dvc", "checkout", "--quiet")
    return project


def test_whole_pipeline(measuring: Measuring, tmp_path: Path, quick: bool) -> None:
    if quick:
        pytest.skip("the whole pipeline is not quick")
    project = clone(tmp_path / "project")
    stages = yaml.safe_load((project.folder / "dvc.yaml").read_text("utf-8"))["stages"]
    made = [name for name in stages if not name.startswith("fetch_")]
    repro = ["-m", "dvc", "repro", "--force", "--single-item"]
    curve = project.seconds(*repro, "transfer_curve")
    seconds = curve + project.seconds(*repro, *(name for name in made if name != "transfer_curve"))
    what = "`dvc repro` of everything after the fetch"
    measuring.value(what, seconds, f"{rounded(seconds)} s", goals=(420, 240))
    measuring.value("of it `transfer_curve`", curve, f"{rounded(curve)} s", goals=(200, 100))


def test_nothing_to_do(measuring: Measuring, tmp_path: Path) -> None:
    everything, one = clone(tmp_path / "everything"), one_stage(tmp_path / "one")
    measuring.ratio(
        "`dvc repro` with nothing to do / in a repository with one stage",
        lambda: everything.seconds("-m", "dvc", "repro"),
        lambda: one.seconds("-m", "dvc", "repro"),
        unit="s",
        goals=(1.25, 1.15),
        rounds=9,
    )


def test_experiment(measuring: Measuring, tmp_path: Path, quick: bool) -> None:
    ours, bare = (clone(tmp_path / name) for name in ("ours", "bare"))
    params: Params = yaml.safe_load((bare.folder / "params.yaml").read_text("utf-8"))
    params |= {"learning_rate": 0.01} | ({"n_epochs": 5} if quick else {})
    write_params(bare.folder, params)
    rates = iter((0.01, 0.009, 0.011))  # DVC would not run one again
    experiment = ["-m", "dvc", "exp", "run", "-S", f"n_epochs={params['n_epochs']}", "-S"]
    measuring.ratio(
        "`dvc exp run -S learning_rate=0.01` / a bare script that does the same",
        lambda: ours.seconds(*experiment, f"learning_rate={next(rates)}"),
        lambda: bare.seconds(BARE),
        unit="s",
        goals=(1.1, 1.05),
        rounds=3,
    )
