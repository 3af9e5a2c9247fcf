"""Kills each stage, kills dvc and presses Ctrl-C at moments spread over a run. Nothing may be lost.

Deselected by default, see `make chaos`. MOMENTS in the environment is the number of moments.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import yaml

from tests.core.test_files import contents
from tests.test_pipeline import STAGES, Repository, reproduced

__all__ = ["reproduced"]  # a fixture

MOMENTS = int(os.environ.get("MOMENTS", "20"))
PYTHON_STARTS = 0.1
"""Seconds in which Ctrl-C ends Python itself, with a message of its own."""

pytestmark = pytest.mark.chaos


class Undone(NamedTuple):
    """A repository in which one stage has not run yet, and its results if nothing disturbs it."""

    folder: Path
    stage: str
    expected: dict[str, bytes]
    """dvc.lock and every file below data/."""
    seconds: float
    """Of the stage."""
    total: float
    """Seconds from dvc's start to its end."""


@pytest.fixture(scope="module", params=STAGES)
def undone(
    request: pytest.FixtureRequest, reproduced: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Undone]:
    stage, folder = request.param, tmp_path_factory.mktemp("undone") / "repository"
    shutil.copytree(reproduced, folder)
    shutil.rmtree(folder / ".dvc/tmp")
    shutil.rmtree(folder / ".dvc/cache/runs")  # otherwise DVC restores results instead of running
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
    yield Undone(folder, stage, results(trial), seen[-1] - seen[0], total)
    shutil.rmtree(folder.parent)


def forget(folder: Path, out: dict[str, Any]) -> None:
    """Removes an output, also from the cache."""
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
    """Returns the process of the stage that this dvc runs."""
    try:
        for process in psutil.Process(dvc).children(recursive=True):
            if process.cmdline()[1:2] == ["-m"]:
                return process
    except psutil.Error:
        pass
    return None


def disturb(dvc: subprocess.Popen[str], undone: Undone, share: float, how: str) -> bool:
    """Disturbs a run after a share of its time; returns whether it was still going on."""
    if how == "kill dvc":  # which leaves the stage running
        time.sleep(share * undone.total)
        hit = dvc.poll() is None
        dvc.kill()
    else:
        while dvc.poll() is None and not stage_process(dvc.pid):
            time.sleep(0.01)
        time.sleep(max(share * undone.seconds, PYTHON_STARTS if how == "press Ctrl-C" else 0))
        stage = stage_process(dvc.pid)
        hit = stage is not None
        if how == "press Ctrl-C":
            os.killpg(dvc.pid, signal.SIGINT)
        elif stage:
            stage.kill()
    dvc.wait()
    return hit


@pytest.mark.parametrize("how", ["kill stage", "kill dvc", "press Ctrl-C"])
def test_after_a_disturbance_dvc_repro_gives_the_same_bytes(
    undone: Undone, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    n_hit, n_repaired, failures = 0, 0, []
    for moment in range(MOMENTS):
        share = (moment + 0.5) / MOMENTS
        trial = Repository(undone.folder.parent / "trial")
        shutil.copytree(undone.folder, trial.folder)
        with start(trial.folder, undone.stage) as dvc:
            n_hit += disturb(dvc, undone, share, how)
        log = undone.folder.with_name("trial.log").read_text(encoding="utf-8")
        n_lines = log.count("\ninterrupted\n")
        if how == "press Ctrl-C" and (
            "Traceback" in log or n_lines != log.count("failed to reproduce")
        ):
            failures.append(f"{share:.3f}: {log}")
        said = reproduce(trial, undone.stage)
        if how != "kill stage" and results(trial.folder)["dvc.lock"] != undone.expected["dvc.lock"]:
            # DVC writes these in place: see Limits in docs/reliability.md.
            trial.git("checkout", "--quiet", "dvc.lock")
            (trial.folder / ".dvc/tmp/rwlock").unlink(missing_ok=True)
            trial.run("find", ".dvc/cache", "-type", "d", "-empty", "-delete")
            n_repaired += 1
            said += reproduce(trial, undone.stage)
        if (found := results(trial.folder)) != undone.expected:
            odd = {n for n, content in undone.expected.items() if found.get(n) != content}
            failures.append(f"{share:.3f}: {odd | (found.keys() - undone.expected.keys())} {said}")
        if list(trial.folder.rglob(".*.building-*")):
            failures.append(f"{share:.3f}: a half-written output is left")
        shutil.rmtree(trial.folder)
    with capsys.disabled():
        survived = MOMENTS - len(failures)
        print(
            f"\n{undone.stage:29} {how:13} {n_hit:3} of {MOMENTS:3} hit, {survived:3} survived, "
            f"{n_repaired} repaired by hand"
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
