"""Disk, permissions, interpreter, terminal, another dvc: what can go wrong around a stage."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, Params, copy_project
from tests.core.test_files import contents
from tests.reliability.test_bad_input import (
    BUILD,
    EVALUATE,
    FINE_TUNE,
    TRAIN,
    WRITE_DIGITS,
    WRITE_LETTERS,
)
from tests.reliability.test_chaos import long, stage_process
from tests.test_pipeline import Repository

# By default the cheapest stage stands for all; the others need seconds to import TensorFlow.
STAGES_THAT_WRITE = [
    BUILD,
    *(
        pytest.param(stage, marks=[pytest.mark.chaos, long])
        for stage in ("stages.fetch_mnist", WRITE_DIGITS, WRITE_LETTERS, TRAIN, FINE_TUNE, EVALUATE)
    ),
]


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    """Returns the one line that a failing stage prints."""
    assert done.returncode == 1, done
    # Parallel tests share the code and therefore its lock.
    lines = [line for line in done.stderr.splitlines() if "waiting" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def needs(*command: str) -> tuple[str, ...]:
    """Skips the test if a command that prepares its environment is not permitted."""
    if shutil.which(command[0]) is None or run(ROOT, *command, "true").returncode:
        pytest.skip(f"{' '.join(command)} is not permitted here")
    return command


@pytest.mark.parametrize("stage", STAGES_THAT_WRITE)
def test_folders_that_are_not_writable_are_refused(made: Path, stage: str) -> None:
    limited: tuple[str, ...] = ()
    if os.getuid() == 0:  # who may write everywhere, unless that right is taken
        limited = needs("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
    before, folders = contents(made), [made, *(p for p in made.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = run(made, *limited, sys.executable, "-m", *stage.split())
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert "Permission denied" in the_line(done)
    assert contents(made) == before


FULL_DISK = """
set -e
mount -t tmpfs -o size=64M none data
cp -a saved/. data
cat /dev/zero > data/filler 2> /dev/null || true
find data -type f -exec sha256sum {} + | sort > before
code=0
"$@" || code=$?
find data -type f -exec sha256sum {} + | sort | cmp - before
exit $code
"""


@pytest.mark.parametrize("stage", STAGES_THAT_WRITE)
def test_a_full_disk_is_an_error_and_leaves_nothing(made: Path, stage: str) -> None:
    alone = needs("unshare", "--mount")
    Path("data").rename("saved")
    Path("data").mkdir()
    done = run(made, *alone, "sh", "-c", FULL_DISK, "sh", sys.executable, "-m", *stage.split())
    assert "o space left on device" in the_line(done)


# DVC caches the file that describes the folder, but not all files in it, and ends with 0.
FULL_CACHE = """
set -e
mkdir .dvc/cache
mount -t tmpfs -o size=1M none .dvc/cache
! make repro
dvc status
mount -o remount,size=8M .dvc/cache
dvc commit
make repro
"""
LARGE = """
stages:
  write:
    cmd: mkdir data; for i in 1 2 3 4; do yes $i | head -c 400000 > data/$i; done
    outs: [data]
metrics: []
"""


def test_make_repro_reports_a_full_cache_and_the_way_out(tmp_path: Path) -> None:
    alone = needs("unshare", "--mount")
    repository = Repository(tmp_path, PYTHONPATH=str(ROOT))
    (tmp_path / ".dvc").mkdir()
    for name in ("Makefile", "requirements.txt", "pyproject.toml", ".dvc/config"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "dvc.yaml").write_text(LARGE, encoding="utf-8")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("bin/python", "installed"):  # as `make install` does
        (tmp_path / ".venv" / name).touch()
    repository.git("init", "--quiet")
    repository.commit("Start")
    said = repository.run(*alone, "sh", "-c", FULL_CACHE)
    assert said.count("error: .dvc/cache: outputs are missing") == 1
    assert "not in cache:       data" in said


def test_a_python_without_the_dependencies_is_reported(tmp_path: Path) -> None:
    done = run(ROOT, sys.executable, "-S", "-m", BUILD)
    line = the_line(done)
    assert sys.executable in line
    assert "is not installed" in line
    assert "make install" in line


@pytest.mark.parametrize("busy", ["importing", "working"])
def test_ctrl_c_ends_a_stage_with_one_line(made: Path, busy: str) -> None:
    params = Path("params.yaml").read_text(encoding="utf-8")
    params = params.replace("n_images_per_class: 4", "n_images_per_class: 9999")
    Path("params.yaml").write_text(params, encoding="utf-8")
    before = contents(made)
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", BUILD],  # reports each import
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = iter(process.stderr.readline, "")
        assert any(line.split()[-1:] == ["stages"] for line in said)
        while busy == "working" and not list(made.glob("data/ascii_letter/.raw.building-*/raw/*")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        words = [line for line in said if not line.startswith("import time:")]
    assert words == ["interrupted\n"]
    assert process.returncode in (130, -signal.SIGINT)
    assert contents(made) == before


@pytest.mark.long
def test_a_second_dvc_reports_the_one_that_is_running(tmp_path: Path, tiny_params: Params) -> None:
    repository = Repository(tmp_path / "repository")
    repository.folder.mkdir()
    copy_project(repository.folder, tiny_params)
    repository.git("init", "--quiet")
    command = ["dvc", "repro", "build_ascii_tarball"]
    environment = repository.environment
    with subprocess.Popen(
        command, cwd=repository.folder, env=environment, stdout=subprocess.DEVNULL
    ) as first:
        stage: psutil.Process | None = None
        while first.poll() is None and stage is None:
            stage = stage_process(first.pid)
        assert stage is not None
        stage.suspend()
        try:
            said = repository.run(*command, code=255)
        finally:
            stage.resume()
        assert f"(PID {first.pid})" in said
        assert "dvc repro build_ascii_tarball" in said
    assert first.returncode == 0
    assert "up to date" in repository.run(*command)


def test_dvc_sends_no_analytics_and_checks_for_no_updates() -> None:
    settings = (ROOT / ".dvc/config").read_text(encoding="utf-8").split("\n")
    assert {"    analytics = false", "    check_update = false"} <= {*settings}
