"""What surrounds a stage: the disk, the rights, the interpreter, another dvc, a terminal."""

from __future__ import annotations

import configparser
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
from tests.mnist.test_files import contents
from tests.reliability.conftest import Refusal
from tests.reliability.test_bad_input import (
    BUILD,
    EVALUATE,
    EVALUATE_LETTERS,
    FETCH,
    FINE_TUNE,
    TRAIN,
    WRITE_DIGITS,
    WRITE_LETTERS,
)
from tests.reliability.test_chaos import stage_process
from tests.test_pipeline import Repository

# The cheapest stage stands for all by default; the others take seconds to import TensorFlow.
STAGES_THAT_WRITE = [
    BUILD,
    *(
        pytest.param(module, marks=pytest.mark.chaos)
        for module in (
            *(FETCH, WRITE_DIGITS, WRITE_LETTERS, TRAIN),
            *(FINE_TUNE, EVALUATE, EVALUATE_LETTERS),
        )
    ),
]


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a stage which failed says."""
    assert done.returncode == 1, done
    # Tests that run at the same time share the code, and so its lock.
    said = done.stderr.removeprefix("another run of this stage is not over: waiting for its end\n")
    assert said.startswith("error: ")
    assert said.count("\n") == 1, said
    return said


def needs(*command: str) -> tuple[str, ...]:
    """Skips the test where a command that prepares its environment is not permitted."""
    if shutil.which(command[0]) is None or run(ROOT, *command, "true").returncode:
        pytest.skip(f"{' '.join(command)} is not permitted here")
    return command


def test_a_file_in_the_place_of_the_data_folder_is_refused(made: Path, refusal: Refusal) -> None:
    shutil.rmtree("data")
    Path("data").write_text("mine")
    assert "data" in refusal(BUILD)


@pytest.mark.parametrize("module", STAGES_THAT_WRITE)
def test_folders_that_are_not_writable_are_refused(made: Path, module: str) -> None:
    limited: tuple[str, ...] = ()
    if os.getuid() == 0:  # who may write everywhere, unless that right is taken
        limited = needs("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
    before, folders = contents(made), [made, *(p for p in made.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = run(made, *limited, sys.executable, "-m", module)
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


@pytest.mark.parametrize("module", STAGES_THAT_WRITE)
def test_a_full_disk_is_an_error_and_leaves_nothing(made: Path, module: str) -> None:
    alone = needs("unshare", "--mount")
    Path("data").rename("saved")
    Path("data").mkdir()
    done = run(made, *alone, "sh", "-c", FULL_DISK, "sh", sys.executable, "-m", module)
    assert "o space left on device" in the_line(done)


def test_a_python_without_the_dependencies_is_named(tmp_path: Path) -> None:
    done = run(ROOT, sys.executable, "-S", "-m", BUILD)
    line = the_line(done)
    assert line.startswith(f"error: {sys.executable} has no package ")
    assert "make install" in line


@pytest.mark.parametrize("busy", ["importing", "working"])
def test_ctrl_c_ends_a_stage_with_one_line(made: Path, busy: str) -> None:
    params = Path("params.yaml").read_text(encoding="utf-8")
    params = params.replace("n_images_per_class: 5", "n_images_per_class: 9999")
    Path("params.yaml").write_text(params, encoding="utf-8")
    before = contents(made)
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", BUILD],  # says what it has imported
        env=os.environ | {"PYTHONPATH": str(ROOT)},
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


def test_a_second_dvc_says_who_is_at_work(tmp_path: Path, tiny_params: Params) -> None:
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


def test_dvc_neither_reports_nor_asks_for_updates() -> None:
    config = configparser.ConfigParser()
    config.read_string((ROOT / ".dvc/config").read_text(encoding="utf-8").replace("    ", ""))
    assert config["core"]["analytics"] == "false"
    assert config["core"]["check_update"] == "false"
