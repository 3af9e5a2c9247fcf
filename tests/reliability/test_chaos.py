"""Disturbs a run of each stage at moments spread over it: kills, signals, edits, a full cache.

Nothing may be lost, and dvc.lock may record nothing false. Deselected by default, see `make chaos`.
MOMENTS in the environment is the number of moments; with 1, only the cheapest stage is disturbed.
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
BUILD = "build_ascii_tarball"
long = pytest.mark.skipif(MOMENTS < 2, reason="MOMENTS=1 is the short form")
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


SIGNALS = {
    "press Ctrl-C": signal.SIGINT,
    "terminate": signal.SIGTERM,
    "hang up": signal.SIGHUP,
}
"""Sent to dvc and its stage, as a terminal and the end of a session do."""
EDITS = {
    "edit params": ("params.yaml", "seed: 12345", "seed: 777"),  # both seeds
    "edit code": ("letterpress/core/files.py", "", "# edited"),
}
"""Old and new text of a file that every stage depends on."""
HARMLESS = "stop and continue", "commit to git"
DISTURBANCES = "kill stage", "kill dvc", *SIGNALS, "close the terminal", *EDITS, *HARMLESS


@pytest.fixture(scope="module", params=STAGES if MOMENTS > 1 else [BUILD])
def undone(
    request: pytest.FixtureRequest, reproduced: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Undone]:
    folder = tmp_path_factory.mktemp("undone") / "repository"
    shutil.copytree(reproduced, folder)
    yield undo(folder, request.param)
    shutil.rmtree(folder.parent)


def undo(folder: Path, stage: str) -> Undone:
    """Removes the results of a stage, and runs it undisturbed in a copy."""
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
    return Undone(folder, stage, results(trial), seen[-1] - seen[0], total)


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


def start(folder: Path, stage: str, terminal: int | None = None) -> subprocess.Popen[str]:
    """Starts `dvc repro STAGE` in a process group of its own, as a terminal does."""
    command = ["dvc", "repro", stage]
    with (folder.parent / f"{folder.name}.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            command if terminal is None else ["setsid", "--ctty", *command],
            cwd=folder,
            env=Repository(folder).environment,
            stdin=terminal,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=terminal is None,
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


def disturb(undone: Undone, trial: Repository, share: float, how: str) -> tuple[bool, int]:
    """Runs the stage and disturbs it after a share of its time.

    Returns whether it was still going on, and DVC's exit code.
    """
    terminal, far_end = os.openpty()
    with start(trial.folder, undone.stage, far_end if "terminal" in how else None) as dvc:
        os.close(far_end)
        if how == "kill dvc":  # which leaves the stage running
            time.sleep(share * undone.total)
        else:
            while dvc.poll() is None and not stage_process(dvc.pid):
                time.sleep(0.01)
            time.sleep(max(share * undone.seconds, PYTHON_STARTS if how == "press Ctrl-C" else 0))
        stage = stage_process(dvc.pid)
        hit = dvc.poll() is None if how == "kill dvc" else stage is not None
        if how == "kill dvc":
            dvc.kill()
        elif how == "kill stage" and stage:
            stage.kill()
        elif how in SIGNALS and hit:
            os.killpg(dvc.pid, SIGNALS[how])
        elif how in EDITS:
            path, old, new = EDITS[how]
            text = (trial.folder / path).read_text(encoding="utf-8")
            edited = text.replace(old, new) if old else text + new
            (trial.folder / path).write_text(edited, encoding="utf-8")
        elif how == "stop and continue" and hit:
            os.killpg(dvc.pid, signal.SIGSTOP)
            time.sleep(0.5)
            os.killpg(dvc.pid, signal.SIGCONT)
        elif how == "commit to git":
            trial.git("commit", "--quiet", "--allow-empty", "--message", "Meanwhile")
        if how == "close the terminal":
            os.close(terminal)
        dvc.wait()
    if how != "close the terminal":
        os.close(terminal)
    return hit, dvc.returncode


def problem(undone: Undone, trial: Repository, how: str, code: int) -> str | None:
    """Returns what is wrong right after a disturbed run, before it is repeated."""
    log = undone.folder.with_name("trial.log").read_text(encoding="utf-8")
    if how == "press Ctrl-C" and (
        "Traceback" in log or log.count("\ninterrupted\n") != log.count("failed to reproduce")
    ):
        return log
    lock = (trial.folder / "dvc.lock").read_bytes()
    if how in HARMLESS and (code, lock) != (0, undone.expected["dvc.lock"]):
        return f"{code}: {log}"
    if how in EDITS and code == 0 and lock != undone.expected["dvc.lock"]:
        before = results(trial.folder)  # right if the edit came before the stage read the file
        trial.run("dvc", "repro", "--force", "--single-item", undone.stage)
        if results(trial.folder) != before:
            return f"dvc.lock records what the stage did not use: {log}"
    if how in EDITS and code and log.count("error: ") != 1:
        return log
    return None


@pytest.mark.parametrize("how", DISTURBANCES)
def test_after_a_disturbance_dvc_repro_gives_the_same_bytes(
    undone: Undone, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    n_hit, n_repaired, failures = 0, 0, []
    for moment in range(MOMENTS):
        share = (moment + 0.5) / MOMENTS
        trial = Repository(undone.folder.parent / "trial")
        shutil.copytree(undone.folder, trial.folder)
        hit, code = disturb(undone, trial, share, how)
        n_hit += hit
        if wrong := problem(undone, trial, how, code):
            failures.append(f"{share:.3f}: {wrong}")
        if how in EDITS:
            trial.git("checkout", "--quiet", EDITS[how][0])
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
            f"\n{undone.stage:29} {how:18} {n_hit:3} of {MOMENTS:3} hit, {survived:3} survived, "
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


def test_a_killed_worker_of_eight_shards_is_one_line_and_nothing_is_lost(
    reproduced: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "repository"
    shutil.copytree(reproduced, folder)
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    assert "n_shards: 1" in params
    params = params.replace("n_shards: 1", "n_shards: 8")
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    undone = undo(folder, BUILD)
    for moment in range(MOMENTS):
        trial = Repository(tmp_path / "trial")
        shutil.copytree(folder, trial.folder)
        with start(trial.folder, BUILD) as dvc:
            while not (workers := pool_workers(dvc.pid)) and dvc.poll() is None:
                time.sleep(0.01)
            time.sleep(moment / MOMENTS)
            workers[-1].kill()
        assert dvc.returncode == 255
        log = (tmp_path / "trial.log").read_text(encoding="utf-8")
        assert "\nerror: a worker process was killed (out of memory?)" in log
        reproduce(trial, BUILD)
        assert results(trial.folder) == undone.expected
        shutil.rmtree(trial.folder)


def pool_workers(dvc: int) -> list[psutil.Process]:
    stage = stage_process(dvc)
    try:
        children = stage.children() if stage else []
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


FULL_CACHE = """
cp -a .dvc/cache .dvc/saved
mount -t tmpfs -o size=200M none .dvc/cache
cp -a .dvc/saved/. .dvc/cache
cat /dev/zero > .dvc/cache/filler 2> /dev/null
truncate --size=-8K .dvc/cache/filler
dvc repro "$1"
rm .dvc/cache/filler
dvc repro "$1" && dvc status --quiet
"""


def test_after_a_full_cache_dvc_repro_gives_the_same_bytes(undone: Undone) -> None:
    alone = ["unshare", "--mount"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("unshare --mount is not permitted here")
    trial = Repository(undone.folder.parent / "trial")
    shutil.copytree(undone.folder, trial.folder)
    said = trial.run(*alone, "sh", "-c", FULL_CACHE, "sh", undone.stage)
    assert "No space left on device" in said
    assert results(trial.folder) == undone.expected
    shutil.rmtree(trial.folder)
