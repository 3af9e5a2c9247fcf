"""A Ray cluster on this machine, reached from nowhere else."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

# Ray takes 127.0.0.1 for a slip and listens on all addresses; here it is what is meant.
RAY = """
from ray._private import services
from ray.scripts.scripts import main

services.resolve_ip_for_localhost = lambda host: host
main()
"""
NODE = (
    *("start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=2", "--disable-usage-stats"),
    *("--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0"),
)


class Cluster:
    """`ray start` processes, of two CPUs each."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.nodes: list[psutil.Popen] = []
        # Sockets have short names: not in a folder of pytest's.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        with (
            socket.create_server(("127.0.0.1", 0)) as one,
            socket.create_server(("127.0.0.1", 0)) as other,
        ):
            port, client_port = one.getsockname()[1], other.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.client_address = f"ray://127.0.0.1:{client_port}"
        self.environment = {
            **os.environ,
            "RAY_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # 127.0.0.1 for programs, too
        }
        self.start(
            *("--head", f"--port={port}", f"--ray-client-server-port={client_port}"),
            *("--include-dashboard=false", f"--temp-dir={self.folder}"),
        )

    def start(self, *options: str) -> psutil.Popen:
        """Starts a node; returns its process, the parent of all the others that it consists of."""
        environment = dict(self.environment)
        del environment["RAY_ADDRESS"]
        if self.nodes:  # with it only the first would start
            del environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]
        environment |= {  # a node that is lost is missed soon
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_initial_delay_ms": "500",
            "RAY_enable_worker_prestart": "0",  # processes that no job would run in
            "RAY_prestart_worker_first_driver": "0",
        }
        log = self.folder / f"node-{len(self.nodes)}.log"
        with log.open("w") as said:
            node = psutil.Popen(
                [sys.executable, "-c", RAY, *NODE, *options],
                env=environment,
                stdout=said,
                stderr=said,
            )
        self.nodes.append(node)
        self.stack.callback(end, node)
        deadline = time.monotonic() + 40
        while "This command will now block" not in log.read_text():
            assert node.is_running() and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        return node

    def join(self) -> psutil.Popen:
        """Starts one more node."""
        return self.start(f"--address={self.address}")


def end(node: psutil.Popen) -> None:
    """Ends a node as a power cut does: all of its processes at once."""
    try:
        tree = [node, *node.children(recursive=True)]
    except psutil.NoSuchProcess:
        tree = [node]
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(tree, timeout=20)
    assert not alive


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of two nodes."""
    if sys.platform != "linux":
        pytest.skip("Ray supports clusters on Linux")
    pytest.importorskip("ray", reason="there is no package ray")
    with ExitStack() as stack:
        cluster = Cluster(stack)
        cluster.join()
        yield cluster
