"""A Ray cluster and workers that no other machine can reach."""

import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

import psutil
import pytest

from letterpress.core.errors import PipelineError
from tests.conftest import ROOT
from tools.workers import own_network

# Adds a node for each line of options, and prints the address of the cluster.
PROGRAM = """
import json, sys
from ray.cluster_utils import Cluster

cluster = Cluster()
for line in sys.stdin:
    cluster.add_node(**json.loads(line))
    print(cluster.address, flush=True)
"""


@dataclass
class Cluster:
    """A head node and other nodes, of two CPUs each."""

    process: psutil.Popen
    """Runs PROGRAM; the parent of all nodes."""
    environment: dict[str, str]
    """For programs that use the cluster."""
    client_address: str
    """What RAY_ADDRESS is on a machine that is not a node."""

    def join(self, **options: object) -> psutil.Process:
        """Adds a node and returns its raylet, the parent of its workers."""
        older = self.process.children()
        size = {"num_cpus": 2, "object_store_memory": 100_000_000}
        self.process.stdin.write(json.dumps(size | options) + "\n")
        self.process.stdin.flush()
        self.environment["RAY_ADDRESS"] = self.process.stdout.readline().strip()
        new = [process for process in self.process.children() if process not in older]
        return next(process for process in new if process.name() == "raylet")


def listening(parent: psutil.Process) -> set[str]:
    """The addresses of this machine on which a process and its descendants listen."""
    processes = {process.pid for process in [parent, *parent.children(recursive=True)]}
    return {
        connection.laddr.ip.removeprefix("::ffff:")  # IPv4 in IPv6
        for connection in psutil.net_connections("inet")
        if connection.pid in processes and connection.status == "LISTEN" and connection.laddr
    }


def listening_inside(process: psutil.Process) -> set[str]:
    """The addresses on which anything listens in the network of a process, as Linux lists them."""
    tables = [Path(f"/proc/{process.pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {local.partition(":")[0] for _, local, _, state, *_ in lines if state == "0A"}


@pytest.fixture(scope="session")
def network() -> Iterator[list[str]]:
    """The start of a command that runs in a network of these tests, which has no other machine."""
    try:
        command = own_network()
    except PipelineError as error:
        pytest.skip(str(error))
    program = "from tools.workers import *; start_loopback(); print('up', flush=True); input()"
    program_command = [*command, sys.executable, "-c", program]
    with Popen(program_command, stdin=PIPE, stdout=PIPE, cwd=ROOT) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"up\n"
        user = ["--user", "--preserve-credentials"] if "--user" in command else []
        yield ["nsenter", "--target", str(holder.pid), "--net", *user, "--"]
        holder.communicate(b"\n")


def kill(parent: psutil.Process) -> None:
    """Kills a process and its descendants at once, as a power cut does."""
    for process in [parent, *parent.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of two nodes."""
    if sys.platform != "linux":
        pytest.skip("Ray supports clusters on Linux")
    pytest.importorskip("ray", reason="the package ray is not installed")
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need short paths
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on 127.0.0.1, not on all addresses
    }
    of_nodes = {
        "RAY_TMPDIR": folder,
        "RAY_health_check_period_ms": "500",  # notices a lost node soon
        "RAY_health_check_initial_delay_ms": "500",
        "RAY_enable_worker_prestart": "0",  # starts no processes that no job would use
        "RAY_prestart_worker_first_driver": "0",
    }
    options: Any = {"stdin": PIPE, "stdout": PIPE, "stderr": DEVNULL, "text": True}
    options["env"] = environment | of_nodes
    with psutil.Popen([sys.executable, "-c", PROGRAM], **options) as process:
        cluster = Cluster(process, environment, f"ray://127.0.0.1:{port}")
        try:
            cluster.join(ray_client_server_port=port, include_dashboard=False)
            cluster.join()
            yield cluster
        finally:
            kill(process)
    shutil.rmtree(folder, ignore_errors=True)
