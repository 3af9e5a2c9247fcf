"""Each stage is killed, dvc is killed, Ctrl-C is pressed, at moments spread over the run; nothing is lost.

Deselected by default, see `make chaos`. The environment's MOMENTS says how many of each.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import yaml

from tests.conftest import Params, copy_project
from tests.mnist.test_files import contents
from tests.test_pipeline import STAGES, Repository

MOMENTS = int(os.environ.get("MOMENTS", "20"))
PYTHON_STARTS = 0.1
"""Seconds in which Ctrl-C ends Python itself, with words of its own."""

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params) -> Repository:
    """A repository after an undisturbed `dvc repro` and a commit."""
    repository = Repository(tmp_path_factory.mktemp("repository"))
    copy_project(repository.folder, _tiny_params)
    repository.git("init", "--quiet", "--initial-branch=main")
    repository.commit("Start")
    repository.run("dvc", "repro")
    repository.commit("Results")
    return repository


class Undone(NamedTuple):
    """A repository in which one stage has yet to run, and what comes out if nothing disturbs it."""

    folder: Path
    stage: str
    expected: dict[str, bytes]
    """dvc.lock and every file below data/."""
    begin: float
    """Seconds from dvc's start to the stage's."""
    end: float
    """Seconds from dvc's start to the stage's end."""
    total: float
    """Seconds from dvc's start to its end."""


@pytest.fixture(scope="module", params=STAGES)
def undone(
    request: pytest.FixtureRequest, reproduced: Repository, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Undone]:
    stage, folder = request.param, tmp_path_factory.mktemp("undone") / "repository"
    shutil.copytree(reproduced.folder, folder)
    shutil.rmtree(folder / ".dvc/tmp")
    shutil.rmtree(folder / ".dvc/cache/runs")  # else DVC would restore what it should run
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    for out in lock["stages"].pop(stage)["outs"]:
        forget(folder, out)
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    Repository(folder).commit("A stage has yet to run")
    trial = folder.parent / "undisturbed"
    shutil.copytree(folder, trial)
    started, seen = time.monotonic(), []
    with start(trial, stage) as dvc:
        while dvc.poll() is None:
            if stage_process(dvc.pid):
                seen.append(time.monotonic() - started)
            time.sleep(0.01)
    total = time.monotonic() - started
    assert dvc.returncode == 0
    yield Undone(folder, stage, results(trial), seen[0], seen[-1], total)
    shutil.rmtree(folder.parent)


def forget(folder: Path, out: dict[str, Any]) -> None:
    """Removes an output, and what the cache has of it."""
    path, cache = folder / out["path"], folder / ".dvc/cache/files/md5"
    hashes, cached = [out["md5"]], cache / out["md5"][:2] / out["md5"][2:]
    if out["md5"].endswith(".dir") and cached.exists():
        hashes += [entry["md5"] for entry in json.loads(cached.read_text(encoding="utf-8"))]
    for md5 in hashes:
        (cache / md5[:2] / md5[2:]).unlink(missing_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def results(folder: Path) -> dict[str, bytes]:
    return contents(folder / "data") | {"dvc.lock": (folder / "dvc.lock").read_bytes()}


def start(folder: Path, stage: str) -> subprocess.Popen[str]:
    """Starts `dvc repro STAGE` in a process group of its own, as a terminal does."""
    with (folder.parent / f"{folder.name}.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            ["dvc", "repro", stage],
            cwd=folder,
            env=Repository(folder).environment,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )


def stage_process(dvc: int) -> psutil.Process | None:
    """The process of a stage that this dvc runs now."""
    try:
        for process in psutil.Process(dvc).children(recursive=True):
            if process.cmdline()[1:2] == ["-m"]:
                return process
    except psutil.Error:
        pass
    return None


def kill_stage(dvc: subprocess.Popen[str], undone: Undone, share: float) -> bool:
    while dvc.poll() is None and not stage_process(dvc.pid):
        time.sleep(0.01)
    time.sleep(share * (undone.end - undone.begin))
    process = stage_process(dvc.pid)
    if process:
        process.kill()
    dvc.wait()
    return process is not None


def kill_dvc(dvc: subprocess.Popen[str], undone: Undone, share: float) -> bool:
    """Leaves the stage's process behind, which goes on."""
    time.sleep(share * undone.total)
    killed = dvc.poll() is None
    dvc.kill()
    dvc.wait()
    return killed


def press_ctrl_c(dvc: subprocess.Popen[str], undone: Undone, share: float) -> bool:
    while dvc.poll() is None and not stage_process(dvc.pid):
        time.sleep(0.01)
    time.sleep(max(share * (undone.end - undone.begin), PYTHON_STARTS))
    pressed = stage_process(dvc.pid) is not None
    os.killpg(dvc.pid, signal.SIGINT)
    dvc.wait()
    return pressed


@pytest.mark.parametrize("disturb", [kill_stage, kill_dvc, press_ctrl_c])
def test_after_a_disturbance_dvc_repro_gives_the_same_bytes(
    undone: Undone,
    disturb: Callable[[subprocess.Popen[str], Undone, float], bool],
    capsys: pytest.CaptureFixture[str],
) -> None:
    n_hit, n_mended, failures = 0, 0, []
    for moment in range(MOMENTS):
        share = (moment + 0.5) / MOMENTS
        trial = Repository(undone.folder.parent / "trial")
        shutil.copytree(undone.folder, trial.folder)
        with start(trial.folder, undone.stage) as dvc:
            n_hit += disturb(dvc, undone, share)
        log = undone.folder.with_name("trial.log").read_text(encoding="utf-8")
        n_lines = log.count("\ninterrupted\n")
        if disturb is press_ctrl_c and (
            "Traceback" in log or n_lines != log.count("failed to reproduce")
        ):
            failures.append(f"{share:.3f}: {log}")
        said = reproduce(trial, undone.stage)
        dvc_was_hit = disturb is not kill_stage
        if dvc_was_hit and results(trial.folder)["dvc.lock"] != undone.expected["dvc.lock"]:
            # DVC writes these two in place: ended in that moment, it leaves a part of one; or a
            # folder of its run cache without the file that belongs there.
            trial.git("checkout", "--quiet", "dvc.lock")
            (trial.folder / ".dvc/tmp/rwlock").unlink(missing_ok=True)
            trial.run("find", ".dvc/cache", "-type", "d", "-empty", "-delete")
            n_mended += 1
            said += reproduce(trial, undone.stage)
        if (found := results(trial.folder)) != undone.expected:
            odd = {n for n, content in undone.expected.items() if found.get(n) != content}
            failures.append(f"{share:.3f}: {odd | (found.keys() - undone.expected.keys())} {said}")
        if list(trial.folder.rglob(".*.building-*")):
            failures.append(f"{share:.3f}: something half-written is left")
        shutil.rmtree(trial.folder)
    with capsys.disabled():
        what, survived = disturb.__name__.replace("_", " "), MOMENTS - len(failures)
        print(
            f"\n{undone.stage:29} {what:13} {n_hit:3} of {MOMENTS:3} hit, {survived:3} survived, "
            f"{n_mended} of them by hand"
        )
    assert failures == []


def reproduce(trial: Repository, stage: str) -> str:
    done = subprocess.run(
        ["dvc", "repro", stage],
        cwd=trial.folder,
        env=trial.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{done.returncode}: {done.stdout}{done.stderr}"
