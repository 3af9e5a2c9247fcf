"""Runs a stage of dvc.yaml as several workers on this machine, which train one model together.

The chief runs under `dvc repro`, so dvc.lock records its outputs; the others run the stage's file.
If one worker fails, the others are stopped. TensorFlow's servers listen on all addresses, whatever
TF_CONFIG says, and ask for no password: the workers therefore run in a network of their own.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from letterpress.core.errors import PipelineError
from letterpress.jobs.processes import n_cores

Worker = subprocess.Popen[bytes]
PATIENCE = 30  # seconds in which workers may report a lost worker before they are stopped
SET_FLAGS, UP = 0x8914, 1  # of network interfaces in Linux: see netdevice(7)


def own_network() -> list[str]:
    """Returns the command that starts a program in a new network namespace."""
    for options in ("--net", "--user --map-root-user --net"):  # by root, by others
        command = ["unshare", *options.split()]
        with suppress(FileNotFoundError, subprocess.CalledProcessError):
            subprocess.run([*command, "true"], check=True, stderr=subprocess.DEVNULL)
            return command
    raise PipelineError(
        "workers: `unshare --user --net` is not permitted here, so other machines could read "
        "and write your files through TensorFlow's servers. Add --listen-on-network if you trust "
        "all machines that reach this one"
    )


def start_loopback() -> None:
    """Starts the loopback interface of a new network namespace, which has no other one."""
    import fcntl  # Windows has none

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH22x", b"lo", UP))


def find_addresses(n: int) -> list[str]:
    """Returns `n` free addresses of this machine for TF_CONFIG."""
    with ExitStack() as stack:  # all are open at once, so no two are the same
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


@contextmanager
def worker(index: int, addresses: list[str], command: list[str]) -> Iterator[Worker]:
    """Runs one of several workers, with its share of the cores. Only the chief prints results."""
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    threads = {"TF_NUM_INTRAOP_THREADS": str(max(1, n_cores() // len(addresses)))}
    process = subprocess.Popen(
        command,
        env={**threads, **os.environ, "TF_CONFIG": json.dumps(cluster, allow_nan=False)},
        stdout=subprocess.DEVNULL if index else None,
        start_new_session=True,  # a signal to the group stops dvc and its children
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def wait(workers: list[Worker]) -> list[str]:
    """Waits for all workers; after a failure, PATIENCE for each. Returns the failures."""
    while None in (codes := [worker.poll() for worker in workers]) and not any(codes):
        time.sleep(0.1)
    for worker in workers:
        with suppress(subprocess.TimeoutExpired):
            worker.wait(PATIENCE)
    codes = [worker.returncode for worker in workers]
    return [f"worker {index}: exit code {code}" for index, code in enumerate(codes) if code]


def main(
    n_workers: Annotated[int, Ge(1)],
    stage: str,
    listen_on_network: bool = False,
    own_network_started: bool = False,
) -> None:
    """Trains. It starts itself again in a network of its own, unless it may listen on all."""
    if not Path("stages", f"{stage}.py").is_file():
        raise PipelineError(f"STAGE: no such stage (got {stage}). Try STAGE=train_mnist")
    if own_network_started:
        start_loopback()
    elif not listen_on_network:
        again = sys.executable, "-m", "tools", *sys.argv[1:], "--own-network-started"
        os.execvp("unshare", [*own_network(), *again])
    chief = ["dvc", "repro", "--single-item", "--force", stage]
    other = ["python", "-m", f"stages.{stage}"]
    addresses = find_addresses(n_workers)
    with ExitStack() as stack:
        started = (worker(i, addresses, other if i else chief) for i in range(n_workers))
        failures = wait([stack.enter_context(one) for one in started])
    if failures:
        raise PipelineError("; ".join(failures))
