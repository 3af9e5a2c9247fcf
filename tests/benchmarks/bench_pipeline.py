"""The cost of DVC and of its processes: compared with a plain script, and with nothing to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.benchmarks.conftest import Measuring, rounded
from tests.benchmarks.networks import seconds_of
from tests.conftest import ROOT, Params, copy_project, write_params

QUICK: Params = {
    "n_epochs": 5,
    "mnist": {
        "n_train_samples": 6400,
        "n_validation_samples": 640,
        "n_test_samples": 1000,
        "n_epochs": 1,
    },
    "transfer": {"labels_per_class": [1, 10], "n_seeds": 2, "n_steps": 20},
}
FETCHED = {
    "fetch_mnist": ROOT / "data/mnist/raw",
    "fetch_typefaces": ROOT / "data/typefaces",
}
TABLES = [f"letterpress/ascii_letter/typefaces.{suffix}" for suffix in ("csv", "sha256")]
BARE = ROOT / "tests" / "benchmarks" / "bare.py"


class Project(NamedTuple):
    """A copy of the project."""

    folder: Path
    params: Params

    @property
    def stages(self) -> list[str]:
        """The names in dvc.yaml."""
        return list(yaml.safe_load((self.folder / "dvc.yaml").read_text("utf-8"))["stages"])

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


def copy_with_raw_data(folder: Path, quick: bool) -> Project:
    """Copies the project; the copy fetches digits and typefaces from the original's folders."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for stage, raw in FETCHED.items():
        assert raw.is_dir(), f"{raw} is missing. Run `make repro` first"
        params[stage]["sources"] = [f"file:{raw}"]
    for key, value in QUICK.items() if quick else ():
        params[key] = params[key] | value if isinstance(value, dict) else value
    folder.mkdir()
    copy_project(folder, params)
    for table in TABLES:  # instead of the tests' own
        shutil.copy(ROOT / table, folder / table)
    project = Project(folder, params)
    git(folder, "init", "--quiet")
    project.seconds("-m", "dvc", "repro", *FETCHED)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "Copy the project")
    return project


def one_stage(folder: Path) -> Project:
    """Makes a repository with one stage, which is up to date."""
    folder.mkdir()
    project = Project(folder, {})
    git(folder, "init", "--quiet")
    project.seconds("-m", "dvc", "init")
    stage = {"cmd": "echo one > one.txt", "outs": ["one.txt"]}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": stage}}), "utf-8")
    project.seconds("-m", "dvc", "repro")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "Make one stage")
    return project


def test_pipeline(measuring: Measuring, tmp_path: Path, quick: bool) -> None:
    ours, bare = (copy_with_raw_data(tmp_path / name, quick) for name in ("ours", "bare"))
    stages = [name for name in ours.stages if name != "transfer_curve"]
    seconds = ours.seconds("-m", "dvc", "repro", *stages)
    curve = ours.seconds("-m", "dvc", "repro", "transfer_curve")
    what = "`dvc repro` of everything after the fetch"
    shown = f"{rounded(seconds + curve)} s"
    measuring.value(what, seconds + curve, shown, goals=(420, 240))
    measuring.value("of it `transfer_curve`", curve, f"{rounded(curve)} s", goals=(200, 100))
    shutil.copytree(ours.folder / "data", bare.folder / "data", dirs_exist_ok=True)
    git(ours.folder, "add", "--all")
    git(ours.folder, "commit", "--quiet", "-m", "Make everything")
    one = one_stage(tmp_path / "one")
    measuring.ratio(
        "`dvc repro` with nothing to do / in a repository with one stage",
        lambda: ours.seconds("-m", "dvc", "repro"),
        lambda: one.seconds("-m", "dvc", "repro"),
        unit="s",
        goals=(1.25, 1.15),
        rounds=9,
    )
    write_params(bare.folder, bare.params | {"learning_rate": 0.01})
    rates = iter((0.01, 0.009, 0.011))
    measuring.ratio(
        "`dvc exp run -S learning_rate=0.01` / a bare script that does the same",
        lambda: ours.seconds("-m", "dvc", "exp", "run", "-S", f"learning_rate={next(rates)}"),
        lambda: bare.seconds(BARE),
        unit="s",
        goals=(1.1, 1.05),
        rounds=2,
    )
