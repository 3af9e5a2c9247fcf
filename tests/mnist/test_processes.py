"""Calls spread over processes come back in their order, and the processes end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from stages.mnist import processes
from stages.mnist.errors import PipelineError
from stages.mnist.processes import local_map, n_cores
from tests.conftest import ROOT


def wait_turn(index: int, n: int, folder: Path) -> tuple[int, int]:
    """Ends when those of a higher index have: the last first."""
    while index + 1 < n and not (folder / str(index + 1)).exists():
        time.sleep(0.01)
    (folder / str(index)).touch()
    return index, os.getpid()


def test_results_come_in_the_order_of_the_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "n_cores", lambda: 3)
    results = list(local_map(wait_turn, [(index, 3, tmp_path) for index in range(3)]))
    assert [index for index, _ in results] == [0, 1, 2]
    assert len({process for _, process in results} - {os.getpid()}) == 3


def mark(index: int, folder: Path) -> int:
    (folder / str(index)).touch()
    return index


def test_few_calls_are_begun_ahead_of_the_result_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "n_cores", lambda: 1)
    results = local_map(mark, [(index, tmp_path) for index in range(50)])
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) <= 5
    assert list(results) == list(range(4, 50))


def refuse(index: int) -> None:
    raise PipelineError(f"number {index} is bad")


def test_what_a_call_refuses_is_told_as_it_is() -> None:
    with pytest.raises(PipelineError, match="number 0 is bad"):
        list(local_map(refuse, [(index,) for index in range(2)]))


def test_no_calls_are_no_results() -> None:
    assert list(local_map(refuse, [])) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_cores_are_those_that_the_process_may_use() -> None:
    code = (
        "import os; from stages.mnist.processes import n_cores;"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(n_cores())"
    )
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert said == "1\n"
    assert n_cores() >= 1


PROGRAM = """
import multiprocessing
import time
from stages.mnist.errors import run
from stages.mnist import processes

def main():
    processes.n_cores = lambda: 1
    results = processes.local_map(time.sleep, [(0,), (99,)])
    next(results)
    (worker,) = multiprocessing.active_children()
    print(worker.pid, flush=True)
    list(results)

run(main, alone=False)
"""


class Running(NamedTuple):
    program: subprocess.Popen[str]
    worker: int
    """The id of its other process."""


@pytest.fixture
def running() -> Iterator[Running]:
    """A program whose other process is in the middle of a call."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout is not None
    with program:
        worker = int(program.stdout.readline())
        yield Running(program, worker)
        program.kill()
        if not program.stdout.closed:  # the worker has not ended by itself
            os.kill(worker, signal.SIGKILL)


def test_a_process_that_is_killed_ends_the_program_in_one_line(running: Running) -> None:
    os.kill(running.worker, signal.SIGKILL)
    _, said = running.program.communicate(timeout=60)
    assert said == "error: a process of this stage was killed, for want of memory?\n"
    assert running.program.returncode == 1


def test_ctrl_c_ends_the_program_and_its_processes_in_one_line(running: Running) -> None:
    os.killpg(running.program.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, said = running.program.communicate(timeout=60)
    assert (running.program.returncode, said) == (130, "interrupted\n")


def test_the_processes_end_with_a_program_that_is_killed(running: Running) -> None:
    running.program.kill()
    running.program.communicate(timeout=60)  # they hold its output open until they end
