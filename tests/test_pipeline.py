"""The whole pipeline as its users run it: a real git and DVC repository, the real stages, tiny data."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides
from filelock import FileLock

from stages.mnist.files import replacing
from tests.conftest import Params, copy_project
from tests.mnist.test_files import contents

STAGES = [
    "fetch_mnist",
    "build_ascii_tarball",
    "write_tfrecords@mnist",
    "write_tfrecords@ascii_letter",
    "train_mnist",
    "fine_tune_ascii",
    "evaluate",
    "transfer_curve",
    "export_web",
]


class Repository:
    """A git and DVC repository, and the commands that people type in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def run(self, *command: str, code: int = 0) -> str:
        """Runs a command in the repository; returns what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == code, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def git(self, *words: str) -> str:
        return self.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def read(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text(encoding="utf-8"))


def stages_run(output: str) -> list[str]:
    return sorted(re.findall(r"Running stage '([^']+)'", output))


@pytest.fixture(scope="session")
def reproduced(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str, _tiny_params: Params
) -> Path:
    """A folder after `dvc repro` and a commit: made once, by the first of the parallel workers."""
    temporary = tmp_path_factory.getbasetemp()
    shared = temporary if worker_id == "master" else temporary.parent
    with FileLock(shared / "reproduced.lock"):
        if not (shared / "with spaces and é").exists():
            with replacing(shared / "with spaces and é") as folder:
                copy_project(folder, _tiny_params)
                repository = Repository(folder)
                repository.git("init", "--quiet", "--initial-branch=main")
                repository.commit("Start")
                assert stages_run(repository.run("dvc", "repro")) == sorted(STAGES)
                repository.commit("Results")
    return shared / "with spaces and é"


@pytest.fixture
def repository(reproduced: Path, tmp_path: Path) -> Repository:
    """A repository after `dvc repro` and a commit, of which a test may do what it likes."""
    return Repository(shutil.copytree(reproduced, tmp_path / "repository"))


def test_what_git_sees_after_a_run_is_the_lock_and_what_can_be_compared(
    repository: Repository,
) -> None:
    changed = repository.git("show", "--name-only", "--format=", "HEAD").split()
    expected = ["dvc.lock", "data/ascii_letter/predictions_unseen.csv"]
    expected += [
        f"data/mistakes/{name}"
        for name in (
            "accuracy_by_case.csv",
            "accuracy_by_family.csv",
            "ceiling.json",
            "sheet.png",
        )
    ]
    expected += [f"data/transfer/{name}" for name in ("curve.csv", "curve.png", "metrics.json")]
    expected += [
        f"data/{pipeline}/{name}"
        for pipeline in ("ascii_letter", "mnist")
        for name in (
            "curves/metrics.json",
            "curves/plots/metrics/accuracy.tsv",
            "curves/plots/metrics/loss.tsv",
            "metrics.json",
            "predictions.csv",
        )
    ]
    assert changed == sorted(expected)


def test_a_second_run_has_nothing_to_do(repository: Repository) -> None:
    assert stages_run(repository.run("dvc", "repro")) == []
    assert repository.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("learning_rate=0.01", ["fine_tune_ascii"]),
        ("learning_rate=1e-5", ["fine_tune_ascii"]),
        ("pretrained_features=false", ["fine_tune_ascii"]),
        ("n_epochs=1", ["fine_tune_ascii"]),
        ("mnist.learning_rate=0.001", ["train_mnist"]),
        ("freeze_features=true", ["fine_tune_ascii"]),
        ("optimizer=adamw", ["fine_tune_ascii", "train_mnist"]),
        ("ascii_letter.off_center=1", ["build_ascii_tarball"]),
        ("transfer.n_steps=3", ["transfer_curve"]),
        (
            "n_shards=3",
            [
                "build_ascii_tarball",
                "evaluate",
                "write_tfrecords@ascii_letter",
                "write_tfrecords@mnist",
            ],
        ),
    ],
)
def test_an_override_changes_the_stages_that_use_it_and_no_other(
    repository: Repository, override: str, changed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.folder)
    apply_overrides("params.yaml", [override])  # what -S does
    with Repo() as repo:
        assert sorted(repo.status()) == changed


def test_an_experiment_trains_with_its_value_and_leaves_the_rest(repository: Repository) -> None:
    before = repository.read("data/mnist/metrics.json")
    output = repository.run("dvc", "exp", "run", "-S", "learning_rate=1e-5")
    assert stages_run(output) == ["evaluate", "export_web", "fine_tune_ascii"]
    diff = json.loads(repository.run("dvc", "metrics", "diff", "HEAD", "--json"))
    assert "loss" in diff["data/ascii_letter/metrics.json"]
    assert "data/mnist/metrics.json" not in diff
    assert repository.read("data/mnist/metrics.json") == before
    assert stages_run(repository.run("dvc", "repro")) == []


def test_a_sweep_queues_one_experiment_a_value_and_runs_its_own_code(
    repository: Repository,
) -> None:
    sweep = ["--queue", "evaluate", "-S", "learning_rate=0.002,0.005", "-S", "n_epochs=1"]
    queued = repository.run("dvc", "exp", "run", *sweep)
    assert queued.count("Queued experiment") == 2
    code = repository.folder / "stages/mnist/training.py"  # what is edited now must not run
    code.write_text("raise SystemExit('the wrong code')\n", encoding="utf-8")
    repository.run("dvc", "exp", "run", "--run-all")
    shown = json.loads(repository.run("dvc", "exp", "show", "--json"))
    experiments = [e["revs"][0]["data"] for row in shown for e in row["experiments"] or []]
    losses = {
        e["params"]["params.yaml"]["data"]["learning_rate"]: e["metrics"][
            "data/ascii_letter/metrics.json"
        ]["data"]["loss"]
        for e in experiments
    }
    assert losses.keys() == {0.002, 0.005}
    assert losses[0.002] != losses[0.005]
    assert repository.git("status", "--porcelain") == " M stages/mnist/training.py\n"


NO_SOCKETS = """
import sys
if any(word.startswith("stages.") for word in sys.orig_argv):
    def refuse(event, arguments):
        if event in ("socket.__new__", "socket.getaddrinfo"):
            raise RuntimeError(f"a stage opens a socket: {event} {arguments}")
    sys.addaudithook(refuse)
"""


def make_hostile(repository: Repository, tools: Path) -> list[str]:
    """C locale, another time zone, a home that is none, no git, no sockets for stages, no network.

    Returns:
        The command that starts another in it, with a strict umask.
    """
    tools.mkdir()
    home = tools / "home"
    home.mkdir(mode=0o555)
    (tools / "sitecustomize.py").write_text(NO_SOCKETS, encoding="utf-8")
    for name in ("python", "dvc", "sh"):
        found = shutil.which(name, path=repository.environment["PATH"])
        assert found is not None
        (tools / name).write_text(f'#!/bin/sh\nexec {found} "$@"\n', encoding="utf-8")
        (tools / name).chmod(0o755)
    repository.environment |= {
        "HOME": "/proc" if Path("/proc").is_dir() else str(home),  # where nobody can write
        "LC_ALL": "C",
        "PATH": str(tools),
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONPATH": str(tools),
        "PYTHONUTF8": "0",
        "SHELL": "/bin/sh",
        "TZ": "Asia/Kathmandu",
    }
    unshare = shutil.which("unshare")
    isolated = [unshare, "--net"] if unshare else []
    if unshare and subprocess.run([*isolated, "/bin/true"], check=False).returncode:
        isolated = []
    return [*isolated, "/bin/sh", "-c", 'umask 077; exec "$@"', "sh"]


def test_a_forced_run_in_a_fresh_clone_gives_the_same_bytes(
    repository: Repository, tmp_path: Path
) -> None:
    """Wherever it stands and whatever surrounds it."""
    clone = Repository(tmp_path / "clone with spaces")
    repository.git("clone", "--quiet", ".", str(clone.folder))
    hostile = Repository(clone.folder)
    start = make_hostile(hostile, tmp_path / "tools")
    assert stages_run(hostile.run(*start, "dvc", "repro", "--force")) == sorted(STAGES)
    assert clone.git("status", "--porcelain") == ""


def test_metrics_and_lock_can_be_compared_on_a_clone_without_remote_and_cache(
    repository: Repository, tmp_path: Path
) -> None:
    work = Repository(tmp_path / "work")
    repository.git("clone", "--quiet", ".", str(work.folder))
    path = work.folder / "data/ascii_letter/metrics.json"
    path.write_text(json.dumps({"accuracy": 0.5, "loss": 1.0}), encoding="utf-8")
    work.commit("Another result")
    clone = Repository(tmp_path / "clone")
    work.git("clone", "--quiet", ".", str(clone.folder))
    diff = json.loads(clone.run("dvc", "metrics", "diff", "HEAD~1", "HEAD", "--json"))
    assert diff["data/ascii_letter/metrics.json"]["accuracy"]["new"] == 0.5
    clone.run("dvc", "repro", "--dry", "--allow-missing", code=255)  # the lock is another's
    clone.git("checkout", "--quiet", "HEAD~1")
    clone.run("dvc", "repro", "--dry", "--allow-missing")


def test_wrong_params_end_a_stage_in_one_line_before_any_work(repository: Repository) -> None:
    apply_overrides(repository.folder / "params.yaml", ["learning_rate=-1"])
    before = contents(repository.folder / "data")
    output = repository.run("python", "-m", "stages.ascii_letter.fine_tune", code=1)
    message = "learning_rate: Input should be greater than 0, got -1"
    assert output == f"error: params.yaml: {message}\n"
    assert contents(repository.folder / "data") == before
