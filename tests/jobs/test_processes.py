"""Calls spread over processes: few are in flight, errors arrive, and no process is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from letterpress.core.errors import PipelineError
from letterpress.jobs import processes
from letterpress.jobs.processes import local_map, n_cores
from tests.conftest import ROOT


def mark(index: int, folder: Path) -> int:
    (folder / str(index)).touch()
    return index


def test_few_calls_are_in_flight_ahead_of_the_next_result(
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


def end(index: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_error_of_a_call_or_of_a_killed_process_is_raised() -> None:
    with pytest.raises(PipelineError, match="number 0 is bad"):
        list(local_map(refuse, [(0,), (1,)]))
    with pytest.raises(PipelineError, match=r"a worker process was killed \(out of memory\?\)"):
        list(local_map(end, [(0,), (1,)]))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_the_cores_are_those_that_the_process_may_use() -> None:
    code = (
        "import os; from letterpress.jobs.processes import n_cores;"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(n_cores())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT) == b"1\n"
    assert n_cores() >= 1


PROGRAM = """
import multiprocessing, time
from letterpress.core.stage import run
from letterpress.jobs import processes

def main():
    processes.n_cores = lambda: 2
    results = processes.local_map(time.sleep, [(0,), (99,)])
    next(results)
    print("working", flush=True)
    list(results)

run(main, alone=False)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_the_processes_end_with_a_program_that_is_interrupted_or_killed(
    sent: signal.Signals,
) -> None:
    command, pipe = [sys.executable, "-c", PROGRAM], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"working\n"
        if sent == signal.SIGINT:
            for worker in psutil.Process(program.pid).children():  # as a terminal does
                worker.send_signal(sent)
            time.sleep(0.3)
            program.send_signal(sent)
        else:
            program.kill()
        _, errors = program.communicate(timeout=60)  # returns once all have closed the pipe
    if sent == signal.SIGINT:
        assert (program.returncode, errors) == (130, b"interrupted\n")
