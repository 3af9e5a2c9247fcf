"""Runs a stage of dvc.yaml as several workers on this machine, which train one model together.

The chief runs under `dvc repro`, so dvc.lock records its outputs; the others run the stage's file.
If one worker fails, the others are stopped. TensorFlow's servers listen on all addresses, whatever
TF_CONFIG says, and ask for no password: the workers therefore run in a network of their own.
"""

import argparse
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

if sys.platform == "linux":
    import fcntl

PATIENCE = 30  # seconds in which workers may report a lost worker before they are stopped

SET_FLAGS, UP = 0x8914, 1  # of network interfaces in Linux: see netdevice(7)


def own_network() -> list[str]:
    """Returns the command that starts a program in a new network namespace.

    Raises:
        SystemExit: the system has or permits none.
    """
    for options in ("--net", "--user --map-root-user --net"):  # by root, by others
        command = ["unshare", *options.split()]
        with suppress(FileNotFoundError, subprocess.CalledProcessError):
            subprocess.run([*command, "true"], check=True, stderr=subprocess.DEVNULL)
            return command
    sys.exit(
        "error: workers: `unshare --user --net` is not permitted here, so other machines could read "
        "and write your files through TensorFlow's servers. Add --listen-on-network if you trust "
        "all machines that reach this one"
    )


def start_loopback() -> None:
    """Starts the loopback interface of a new network namespace, which has no other one."""
    assert sys.platform == "linux"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH22x", b"lo", UP))


def find_addresses(n: int) -> list[str]:
    """Returns `n` free addresses of this machine for TF_CONFIG."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def start_worker(index: int, addresses: list[str], command: list[str]) -> subprocess.Popen[bytes]:
    """Starts one of several workers, with its share of the cores. Only the chief prints results."""
    n_cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    threads = {"TF_NUM_INTRAOP_THREADS": str(max(1, n_cores // len(addresses)))}
    return subprocess.Popen(
        command,
        env={**threads, **os.environ, "TF_CONFIG": json.dumps(cluster, allow_nan=False)},
        stdout=subprocess.DEVNULL if index else None,
        start_new_session=True,  # a signal to the group stops dvc and its children
    )


def wait(workers: list[subprocess.Popen[bytes]]) -> list[str]:
    """Waits for all workers, or until PATIENCE after a failure. Returns the failures."""
    deadline = float("inf")
    while time.monotonic() < deadline:
        codes = [worker.poll() for worker in workers]
        if any(codes) and deadline == float("inf"):
            deadline = time.monotonic() + PATIENCE
        if None not in codes:
            break
        time.sleep(0.1)
    return [
        f"worker {index}: "
        + (f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}")
        for index, code in enumerate(codes)
        if code
    ]


def _stop(worker: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGTERM)
    worker.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs a stage as several workers on this machine.")
    parser.add_argument("workers", type=int, help="how many, the chief included")
    parser.add_argument("stage", help="a stage of dvc.yaml that trains")
    parser.add_argument("--listen-on-network", action="store_true", help="allow other machines in")
    parser.add_argument("--own-network", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.workers < 1:
        sys.exit(
            f"error: WORKERS: at least 1 (got {arguments.workers}). Try make workers WORKERS=2"
        )
    if not Path("stages", f"{arguments.stage}.py").is_file():
        sys.exit(f"error: STAGE: no such stage (got {arguments.stage}). Try STAGE=train_mnist")
    if arguments.own_network:
        start_loopback()
    elif not arguments.listen_on_network:
        again = sys.executable, "-m", "tools.workers", "--own-network", *sys.argv[1:]
        os.execvp("unshare", [*own_network(), *again])
    chief = ["dvc", "repro", "--single-item", "--force", arguments.stage]
    other = ["python", "-m", f"stages.{arguments.stage}"]
    addresses = find_addresses(arguments.workers)
    try:
        with ExitStack() as stack:
            workers = []
            for index in range(arguments.workers):
                workers.append(start_worker(index, addresses, other if index else chief))
                stack.callback(_stop, workers[-1])
            failures = wait(workers)
    except KeyboardInterrupt:
        sys.exit(130)
    if failures:
        sys.exit(f"error: {'; '.join(failures)}")


if __name__ == "__main__":
    main()
