"""Runs jobs on a Ray cluster whose nodes share no files with this machine."""

import os
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from logging import CRITICAL
from pathlib import Path
from typing import Any, TypeVar

import letterpress
from letterpress.core.errors import PipelineError
from letterpress.core.interrupts import silent_stderr
from letterpress.jobs.shards import Job

T = TypeVar("T")

JOBS_PER_CPU = 4
"""Jobs in flight per CPU of the cluster: enough that a slow job rarely leaves other CPUs idle."""


def map_on_ray(address: str, function: Callable[..., T], jobs: Sequence[Job]) -> Iterator[T]:
    """Does what `map_jobs` documents, on the cluster at `address`."""
    ray = _connect(address)
    call = ray.remote(_call)  # retried three times, by default, if its node is lost

    @lru_cache(maxsize=8)  # inputs of several jobs are sent once; Ray frees what is not referenced
    def send(path: Path) -> Any:
        return ray.put(path.read_bytes())

    def submit(job: Job) -> list[Any]:
        options = call.options(num_returns=1 + len(job.outputs))
        returned: list[Any] = options.remote(function, *job, *map(send, job.inputs))
        return returned

    waiting, in_flight = iter(jobs), deque[tuple[Job, list[Any]]]()
    try:
        while True:
            limit = max(1, int(JOBS_PER_CPU * ray.cluster_resources().get("CPU", 0)))
            for job in islice(waiting, max(0, limit - len(in_flight))):
                in_flight.append((job, submit(job)))
            if not in_flight:
                return
            job, (result, *outputs) = in_flight.popleft()
            value = ray.cloudpickle.loads(ray.get(result))
            for path, content in zip(job.outputs, outputs, strict=True):
                path.write_bytes(ray.get(content))  # one at a time: outputs may be large
            yield value
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        reason = str(error).partition("\n")[0]
        raise PipelineError(
            f"Ray cluster {address}: a job was lost ({reason}). Check the nodes with `ray status`"
        ) from error
    finally:
        with silent_stderr():
            ray.shutdown()


def _connect(address: str) -> Any:
    """Connects to a cluster and returns the package ray; PipelineError if the connection fails."""
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "2")  # a wrong token stays wrong
    try:
        import ray
    except ModuleNotFoundError as error:
        raise PipelineError(
            f"RAY_ADDRESS={address}: the package ray is not installed. Unset RAY_ADDRESS, "
            "or pip install --require-hashes -r requirements-ray.txt"
        ) from error
    try:
        # Fail fast when nothing listens there: Ray itself retries for minutes.
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        with tempfile.TemporaryDirectory() as empty, silent_stderr():
            # Without a working_dir, a node would prefer a `letterpress` in its own current folder.
            sent = {"py_modules": [*letterpress.__path__], "working_dir": empty}
            sent["excludes"] = ["__pycache__"]
            ray.init(address, runtime_env=sent, log_to_driver=False, logging_level=CRITICAL)
    except (OSError, OverflowError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        refused = "AuthenticationError" in f"{error!r} {error.__cause__}"
        reason = "authentication failed" if refused else str(error).partition("\n")[0]
        raise PipelineError(
            f"RAY_ADDRESS={address}: no connection ({reason}). Use HOST:PORT of this machine's "
            "node or ray://HOST:10001 of the head node; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from error
    return ray


def _call(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    inputs: tuple[Path, ...],
    outputs: tuple[Path, ...],
    *contents: bytes,
) -> tuple[bytes, ...]:
    """Runs a job on a node; returns its pickled result and the contents of its outputs.

    The result is pickled here, because an array would otherwise be a view of Ray's memory, which is
    freed when the connection ends.
    """
    from ray import cloudpickle

    with tempfile.TemporaryDirectory() as root:
        folders = dict.fromkeys(path.parent for path in inputs + outputs)
        local = {folder: Path(root, str(i), folder.name) for i, folder in enumerate(folders)}
        for folder in local.values():
            folder.mkdir(parents=True)
        local_inputs = tuple(local[path.parent] / path.name for path in inputs)
        local_outputs = tuple(local[path.parent] / path.name for path in outputs)
        for path, content in zip(local_inputs, contents, strict=True):
            path.write_bytes(content)
        try:
            result = cloudpickle.dumps(function(*arguments, local_inputs, local_outputs))
        except PipelineError as error:
            message = str(error)
            for folder, copy in local.items():  # report the caller's paths
                message = message.replace(str(copy), str(folder))
            raise PipelineError(message) from None
        return result, *(path.read_bytes() for path in local_outputs)
