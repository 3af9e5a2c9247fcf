"""A map on a real Ray cluster gives what it gives here, a lost node included, and says as little."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT, Params, copy_project, write_digits
from tests.distributed.conftest import Cluster, end
from tests.mnist.test_files import contents

PROGRAM = """
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

import stages.mnist.engine
from stages.mnist.errors import PipelineError, run

WORD = "one"


def make(index, seconds, diary, inputs, outputs):
    with Path(diary).open("a") as file:
        file.write(f"{index} {os.getpid()}\\n")
    if index == 0:
        time.sleep(seconds)  # ends after those that are begun later
    time.sleep(seconds)
    own, common = inputs
    if own.read_text() == "bad":
        raise PipelineError(f"{own}: bad, in the folder {own.parent}: mend it")
    assert [path.name for path in outputs] == ["small", "large"]
    outputs[0].write_text(f"{index} {own.name} {own.read_text()} {common.read_bytes()[:3]!r}")
    outputs[1].write_bytes(bytes([index]) * 300_000)
    return index, common.parent.name, np.full(50_000, index)


def where(inputs, outputs):
    return WORD, stages.mnist.engine.__file__, os.getpid()


def main():
    from stages import trial  # by its name, as the jobs find it on a node

    n_jobs, seconds = int(sys.argv[1]), float(sys.argv[2])
    if seconds < 0:
        jobs = [stages.mnist.engine.Job((), (), ())] * n_jobs
        print(json.dumps(list(stages.mnist.engine.map_jobs(trial.where, jobs))))
        return
    common = Path("in/common/data")
    jobs = []
    for index in range(n_jobs):
        out = Path(f"out/{index}")
        out.mkdir(parents=True, exist_ok=True)
        arguments = (index, seconds, str(Path("diary").resolve()))
        files = Path(f"in/{index}/own"), common
        jobs.append(stages.mnist.engine.Job(arguments, files, (out / "small", out / "large")))
    results = []
    for result in stages.mnist.engine.map_jobs(trial.make, jobs):
        index, _, _ = result
        assert (Path(f"out/{index}/large")).stat().st_size == 300_000
        results.append(result)
    print(json.dumps([[index, name, array.tolist()[::9999]] for index, name, array in results]))


if __name__ == "__main__":
    run(main, alone=False)
"""

JOBS = 9


def make_project(folder: Path) -> Path:
    """Copies the code, with a stage of jobs that sleep, and makes their inputs."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=ignored)
    (folder / "stages/trial.py").write_text(PROGRAM)
    for index in range(JOBS):
        (folder / f"in/{index}").mkdir(parents=True)
        (folder / f"in/{index}/own").write_text(f"input {index}")
    (folder / "in/common").mkdir()
    (folder / "in/common/data").write_bytes(bytes(range(256)) * 2000)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def start(
    project: Path, environment: dict[str, str], n_jobs: int = JOBS, seconds: float = 0.1
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stages.trial", str(n_jobs), str(seconds)],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(program: subprocess.Popen[str]) -> Any:
    """Returns what a program prints last."""
    said, errors = program.communicate(timeout=50)
    assert program.returncode == 0, errors
    assert errors == ""
    return json.loads(said.splitlines()[-1])  # Ray may have said before that a node is lost


def refusal(program: subprocess.Popen[str], seconds: float) -> str:
    """The one line that a program says which must end in so many seconds."""
    begun = time.monotonic()
    said, errors = program.communicate(timeout=50)
    assert time.monotonic() - begun < seconds
    assert (program.returncode, said) == (1, "")
    assert re.fullmatch("error: .+\n", errors), errors
    return errors.removeprefix("error: ").removesuffix("\n")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the jobs return and write in processes of this machine."""
    project = make_project(tmp_path_factory.mktemp("here") / "project")
    results = finish(start(project, {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}))
    made = contents(project / "out")
    assert len(made) == 2 * JOBS
    return results, made


@pytest.mark.parametrize("kind", ["node", "client"])
def test_results_and_files_are_those_of_local_processes(
    cluster: Cluster, project: Path, expected: Any, kind: str
) -> None:
    address = cluster.address if kind == "node" else cluster.client_address
    results = finish(start(project, cluster.environment | {"RAY_ADDRESS": address}))
    assert (results, contents(project / "out")) == expected
    assert [index for index, *_ in results] == list(range(JOBS))


def node_of(cluster: Cluster, process: int) -> int | None:
    """The number of the node that a process belongs to, if it is still there."""
    try:
        parents = psutil.Process(process).parents()
    except psutil.NoSuchProcess:
        return None
    return next(
        (i for i, node in enumerate(cluster.nodes) if node.pid in {p.pid for p in parents}), None
    )


def test_a_node_that_is_lost_in_mid_run_changes_nothing(
    cluster: Cluster, project: Path, expected: Any
) -> None:
    victim = cluster.join()
    number = cluster.nodes.index(victim)
    program = start(project, cluster.environment, seconds=0.6)
    diary = project / "diary"
    lost: set[str] = set()
    while not lost:  # until it is at work
        assert program.poll() is None, program.communicate()
        time.sleep(0.02)
        lines = diary.read_text().splitlines() if diary.exists() else []
        begun = [line.split() for line in lines]
        lost = {index for index, process in begun if node_of(cluster, int(process)) == number}
    end(victim)
    assert (finish(program), contents(project / "out")) == expected
    begun_again = [line.split()[0] for line in diary.read_text().splitlines()]
    assert all(begun_again.count(index) == 2 for index in lost)
    assert len(begun_again) > JOBS


STAGES = ("ascii_letter.build_tarball", "ascii_letter.write_tfrecords", "mnist.write_tfrecords")


def make_data(folder: Path, params: Params, environment: dict[str, str]) -> Iterator[psutil.Popen]:
    """Runs the stages that make data in shards; yields each while it runs."""
    copy_project(folder, params)
    write_digits(folder / "data/mnist/raw")
    for stage in STAGES:
        process = psutil.Popen(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        yield process
        _, errors = process.communicate(timeout=100)
        assert (process.returncode, errors) == (0, "")


def has_work(node: psutil.Popen) -> bool:
    """Whether a process of the node calls the function of a job, whose name Ray gives it."""
    with suppress(psutil.NoSuchProcess):
        return any("ray::_call" in " ".join(p.cmdline()) for p in node.children(recursive=True))
    return False


def test_letters_and_records_are_the_same_bytes_though_a_node_is_lost(
    cluster: Cluster, tmp_path: Path, tiny_params: Params
) -> None:
    tiny_params["n_shards"] = 6
    tiny_params["ascii_letter"] |= {
        "image_height": 48,
        "image_width": 48,
        "off_center": 16.0,
        "n_images_per_class": 300,
        "n_unseen_per_class": 30,
    }
    here = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    for _ in make_data(tmp_path / "here", tiny_params, here):
        pass
    victim = cluster.join()
    lost = 0
    for process in make_data(tmp_path / "there", tiny_params, cluster.environment):
        while victim.is_running() and process.is_running() and not has_work(victim):
            time.sleep(0.01)
        if victim.is_running() and process.is_running():
            end(victim)
            lost += 1
    assert lost == 1
    made = contents(tmp_path / "there/data")
    assert made == contents(tmp_path / "here/data")
    assert sum(name.endswith("-of-00006.tfrecord") for name in made) == 5 * 6


def test_an_error_of_a_job_is_one_line_about_the_files_of_the_caller(
    cluster: Cluster, project: Path
) -> None:
    (project / "in/3/own").write_text("bad")
    line = "in/3/own: bad, in the folder in/3: mend it"
    assert refusal(start(project, cluster.environment, n_jobs=4), 20) == line


def test_two_programs_run_their_own_code_at_the_same_time(cluster: Cluster, tmp_path: Path) -> None:
    programs = {}
    for word in ("one", "two"):
        project = make_project(tmp_path / word)
        code = PROGRAM.replace('WORD = "one"', f'WORD = "{word}"')
        (project / "stages/trial.py").write_text(code)
        programs[word] = start(project, cluster.environment, n_jobs=2, seconds=-1)
    for word, program in programs.items():
        for found, file, process in finish(program):
            assert found == word
            assert not Path(file).is_relative_to(tmp_path), "it is not the copy that was sent"
            assert process != program.pid


def test_a_wrong_token_or_address_is_refused_at_once(cluster: Cluster, project: Path) -> None:
    environments = {
        "the cluster refuses the token": {"RAY_AUTH_TOKEN": "0" * 64},
        "Connection refused": {"RAY_ADDRESS": "127.0.0.1:1"},
        "HOST:PORT": {"RAY_ADDRESS": "local"},
    }
    for reason, change in environments.items():
        line = refusal(start(project, cluster.environment | change), 20)
        assert line.startswith(f"RAY_ADDRESS={change.get('RAY_ADDRESS', cluster.address)}: ")
        assert reason in line
    assert not (project / "diary").exists()


def test_the_cluster_listens_to_this_machine_only(cluster: Cluster) -> None:
    processes = [p for node in cluster.nodes if node.is_running() for p in node.children(True)]
    ports = [
        c.laddr.ip for p in processes for c in p.net_connections("tcp") if c.status == "LISTEN"
    ]
    assert ports
    assert {ip.removeprefix("::ffff:") for ip in ports} == {"127.0.0.1"}
