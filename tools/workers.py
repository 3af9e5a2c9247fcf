"""Runs a stage of dvc.yaml as several workers on this machine, which train one model together.

    python -m tools.workers 2 train_mnist

The chief runs under `dvc repro`, so that dvc.lock holds what it makes; the others run the stage's
command. Where one fails, the others are ended too.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import IO, NamedTuple

import yaml

PATIENCE = 30
"""Seconds in which the others say by themselves that a worker is gone, before they are ended."""


class Worker(NamedTuple):
    """A process that trains, and what it says where that is not shown at once."""

    name: str
    process: subprocess.Popen[bytes]
    said: IO[bytes] | None


def read_command(stage: str, file: Path) -> list[str]:
    """Returns the command of a stage of dvc.yaml, in words.

    Raises:
        KeyError: there is no such stage, or it has no single command.
    """
    command = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"][stage]["cmd"]
    if not isinstance(command, str):
        raise KeyError(stage)
    return shlex.split(command)


def find_addresses(n: int) -> list[str]:
    """Returns `n` free addresses of this machine, which no other machine can reach."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def start_workers(n: int, stage: str, command: list[str], stack: ExitStack) -> list[Worker]:
    """Starts the chief and the others; the end of `stack` ends those that still run."""
    addresses = find_addresses(n)
    n_cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    workers = []
    for index in range(n):
        task = {"type": "worker", "index": index}
        environment = {
            "TF_NUM_INTRAOP_THREADS": str(max(1, n_cores // n)),
            **os.environ,
            "TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task}),
        }
        said = tempfile.TemporaryFile() if index else None  # noqa: SIM115 (the stack closes it)
        stack.enter_context(said or nullcontext())
        process = subprocess.Popen(
            command if index else ["dvc", "repro", "--single-item", "--force", stage],
            env=environment,
            stdout=said,
            stderr=said,
            start_new_session=True,  # dvc and what it starts are ended together
        )
        stack.callback(_end, process)
        workers.append(Worker(f"worker {index} of {n}", process, said))
    return workers


def wait(workers: list[Worker]) -> list[Worker]:
    """Waits until all have ended, or PATIENCE after a failure; returns those that failed, the first first."""
    failed: list[Worker] = []
    deadline = float("inf")
    while time.monotonic() < deadline:
        codes = [worker.process.poll() for worker in workers]
        new = [w for w, code in zip(workers, codes, strict=True) if code and w not in failed]
        if new and not failed:
            deadline = time.monotonic() + PATIENCE
        # Of those that ended at once, the one that a signal ended is the cause.
        failed += sorted(new, key=lambda worker: worker.process.returncode > 0)
        if None not in codes:
            break
        time.sleep(0.1)
    return failed


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs a stage as several workers on this machine.")
    parser.add_argument("workers", type=int, help="how many, the chief included")
    parser.add_argument("stage", help="one that trains, of dvc.yaml")
    arguments = parser.parse_args()
    if arguments.workers < 1:
        sys.exit("error: at least one worker is needed: make workers WORKERS=2")
    try:
        command = read_command(arguments.stage, Path("dvc.yaml"))
    except (OSError, KeyError):
        sys.exit(f"error: {arguments.stage} is no stage of dvc.yaml that trains: try train_mnist")
    try:
        with ExitStack() as stack:
            workers = start_workers(arguments.workers, arguments.stage, command, stack)
            failed = wait(workers)
            for worker in failed:
                if worker.said:
                    worker.said.seek(0)
                    for line in worker.said.read().decode(errors="replace").splitlines():
                        print(f"{worker.name}: {line}", file=sys.stderr)
    except KeyboardInterrupt:
        sys.exit(130)
    if failed:
        code = failed[0].process.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed, code {code}"
        sys.exit(f"error: {failed[0].name} {how}; the others have ended too")


if __name__ == "__main__":
    main()
