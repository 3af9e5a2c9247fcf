"""Jobs on a real Ray cluster give the results of local processes, even when a node is lost."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT, Params, copy_project
from tests.core.test_files import contents
from tests.distributed.conftest import Cluster, kill, listening

PROGRAM = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from letterpress.core.errors import PipelineError
from letterpress.core.stage import run
from letterpress.jobs.map import map_jobs
from letterpress.jobs.shards import Job


def make(index, seconds, diary, inputs, outputs):
    with Path(diary).open("a") as file:
        file.write(f"{index} {os.getpid()} {__file__}\\n")
    time.sleep(seconds if index else 2 * seconds)  # the first job ends after later ones
    own, common = inputs
    if own.read_text() == "bad":
        raise PipelineError(f"{own}: bad, in the folder {own.parent}")
    small, large = outputs
    small.write_text(f"{index} {own.name} {own.read_text()} {common.read_bytes()[:3]!r}")
    large.write_bytes(bytes([index]) * 300_000)
    return index, common.parent.name, np.full(50_000, index)


def main():
    from letterpress import trial  # jobs on a node find the function by the module's name

    jobs = []
    for index, own in enumerate(sorted(Path("in").glob("?/own"))):
        out = Path("out", str(index))
        out.mkdir(parents=True)
        arguments = index, float(sys.argv[1]), str(Path("diary").resolve())
        jobs.append(Job(arguments, (own, Path("in/common")), (out / "small", out / "large")))
    results = list(map_jobs(trial.make, jobs))
    print(json.dumps(results, default=lambda array: array.tolist()[::9999]))


if __name__ == "__main__":
    run(main, alone=False)
"""
N_JOBS = 9
LOCAL = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}


def make_project(folder: Path) -> Path:
    """Copies the library, adds a program whose jobs sleep, and writes their inputs."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "letterpress", folder / "letterpress", ignore=ignored)
    (folder / "letterpress/trial.py").write_text(PROGRAM)
    for index in range(N_JOBS):
        (folder / f"in/{index}").mkdir(parents=True)
        (folder / f"in/{index}/own").write_text(f"input {index}")
    (folder / "in/common").write_bytes(bytes(range(256)) * 2000)
    (folder / "diary").touch()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def start(project: Path, environment: dict[str, str], seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "letterpress.trial", str(seconds)]
    options: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=project, env=environment, **options)


def finish(program: subprocess.Popen[str]) -> Any:
    """Returns the last line that a program prints; Ray may have reported lost nodes before."""
    out, errors = program.communicate(timeout=100)
    assert (program.returncode, errors) == (0, "")
    return json.loads(out.splitlines()[-1])


def started(project: Path) -> list[list[str]]:
    """The jobs that were started: the index, process and source file of each."""
    return [line.split() for line in (project / "diary").read_text().splitlines()]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, bytes]]:
    """What the jobs return and write in local processes."""
    project = make_project(tmp_path_factory.mktemp("local") / "project")
    results, made = finish(start(project, LOCAL, 0.1)), contents(project / "out")
    assert [index for index, *_ in results] == list(range(N_JOBS))
    return results, made


@pytest.mark.parametrize("kind", ["node", "client"])
def test_results_and_files_are_those_of_local_processes(
    cluster: Cluster, project: Path, expected: Any, kind: str
) -> None:
    environment = dict(cluster.environment)
    if kind == "client":
        environment["RAY_ADDRESS"] = cluster.client_address
    assert (finish(start(project, environment, 0.1)), contents(project / "out")) == expected
    files = [Path(file) for *_, file in started(project)]
    assert not any(file.is_relative_to(project) for file in files), "not the code that was sent"


def test_the_cluster_and_its_driver_listen_on_this_machine_only(
    cluster: Cluster, project: Path
) -> None:
    program = psutil.Popen(
        [sys.executable, "-m", "letterpress.trial", "0.3"],
        cwd=project, env=cluster.environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    found = set[str]()
    while program.poll() is None:
        found |= listening(cluster.process) | listening(program)
        time.sleep(0.05)
    assert found
    assert found <= {"127.0.0.1", "::1"}


def test_the_jobs_of_a_lost_node_are_retried(
    cluster: Cluster, project: Path, expected: Any
) -> None:
    victim = cluster.join()
    program = start(project, cluster.environment, 0.6)
    lost: set[str] = set()
    while not lost:
        assert program.poll() is None, program.communicate()
        time.sleep(0.02)
        processes = {str(process.pid) for process in victim.children(recursive=True)}
        lost = {index for index, process, _ in started(project) if process in processes}
    kill(victim)
    assert (finish(program), contents(project / "out")) == expected
    indices = [index for index, *_ in started(project)]
    assert all(indices.count(index) == 2 for index in lost)


@pytest.mark.slow
def test_letters_and_records_are_the_same_bytes(
    cluster: Cluster, tmp_path: Path, tiny_params: Params
) -> None:
    for name, environment in (("local", LOCAL), ("cluster", cluster.environment)):
        copy_project(tmp_path / name, tiny_params | {"n_shards": 3})
        for stage in ("fetch_typefaces", "build_ascii_tarball", "write_tfrecords ascii_letter"):
            command = [sys.executable, "-m", *f"stages.{stage}".split()]
            subprocess.run(command, cwd=tmp_path / name, env=environment, check=True)
    made = contents(tmp_path / "cluster/data")
    assert made == contents(tmp_path / "local/data")
    assert sum(name.endswith("-of-00003.tfrecord") for name in made) == 3 * 4


def test_the_error_of_a_job_is_one_line_with_the_callers_paths(
    cluster: Cluster, project: Path
) -> None:
    (project / "in/3/own").write_text("bad")
    program = start(project, cluster.environment, 0.1)
    assert program.communicate() == ("", "error: in/3/own: bad, in the folder in/3\n")


def test_a_wrong_token_is_refused_in_one_line(cluster: Cluster, project: Path) -> None:
    program = start(project, cluster.environment | {"RAY_AUTH_TOKEN": "0" * 64}, 0.1)
    out, error = program.communicate(timeout=20)
    assert (out, program.returncode, error.count("\n")) == ("", 1, 1)
    address = cluster.environment["RAY_ADDRESS"]
    assert f"RAY_ADDRESS={address}: no connection (authentication failed)" in error
