"""Jobs on a Ray cluster whose nodes see none of this machine's files."""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import stages
from stages.mnist.engine import Job
from stages.mnist.errors import PipelineError

T = TypeVar("T")

AHEAD = 2
"""So many jobs per CPU of the cluster are begun and not yet fetched: a slow one holds up no other."""

MAX_RETRIES = 3
"""How often a job is begun anew when its node or process is lost. A few nodes may be lost in one
run; a job that kills each process it runs in must come to an end."""


def map_on_ray(address: str, function: Callable[..., T], jobs: Sequence[Job]) -> Iterator[T]:
    """Does what `engine.map_jobs` says, on the cluster at this address."""
    ray = _connect(address)
    call = ray.remote(max_retries=MAX_RETRIES)(_call)
    readers = Counter(path for job in jobs for path in job.inputs)
    stored: dict[Path, Any] = {}  # an input of several jobs is sent once
    running: dict[Any, tuple[int, list[Any]]] = {}  # by a job's result: its number, its outputs
    results: dict[int, T] = {}
    waiting = iter(enumerate(jobs))

    def begin(index: int, job: Job) -> None:
        for path in job.inputs:
            if path not in stored:
                stored[path] = ray.put(path.read_bytes())
        returned = call.options(num_returns=1 + len(job.outputs)).remote(
            function, *job, *(stored[path] for path in job.inputs)
        )
        result, *outputs = returned if job.outputs else [returned]
        running[result] = (index, outputs)

    def fetch(result: Any) -> None:
        index, outputs = running.pop(result)
        results[index] = ray.cloudpickle.loads(ray.get(result))
        for path, content in zip(jobs[index].outputs, outputs, strict=True):
            path.write_bytes(ray.get(content))  # one at a time: they may be large
        readers.subtract(jobs[index].inputs)
        for path in jobs[index].inputs:
            if not readers[path]:
                stored.pop(path, None)

    try:
        for index in range(len(jobs)):
            while index not in results:
                n_ahead = max(1, int(AHEAD * ray.cluster_resources().get("CPU", 0)))
                for one in islice(waiting, max(0, n_ahead - len(running))):
                    begin(*one)
                (done,), _ = ray.wait(list(running))
                fetch(done)
            yield results.pop(index)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        line = str(error).partition("\n")[0]
        raise PipelineError(f"the Ray cluster at {address} gave a job up: {line}") from error
    finally:
        with _standard_error_shut():
            ray.shutdown()


def _connect(address: str) -> Any:
    """Returns the package ray, connected.

    Raises:
        PipelineError: it is not installed, or there is no connection.
    """
    host_and_port = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if not host_and_port:
        raise PipelineError(f"RAY_ADDRESS={address}: HOST:PORT or ray://HOST:PORT is needed")
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "2")  # a wrong token stays wrong
    try:
        import ray
    except ModuleNotFoundError as error:
        raise PipelineError(
            "RAY_ADDRESS is set, but there is no package ray: "
            "pip install --require-hashes -r requirements-ray.txt, or unset RAY_ADDRESS"
        ) from error
    try:
        host, port = host_and_port[1].strip("[]"), int(host_and_port[2])
        socket.create_connection((host, port), timeout=10).close()  # Ray would knock for minutes
        # Without a working_dir a folder on the node with the name of this one would come before
        # the code that is sent.
        with tempfile.TemporaryDirectory() as empty, _standard_error_shut():
            ray.init(
                address,
                runtime_env={
                    "py_modules": [*stages.__path__],
                    "working_dir": empty,
                    "excludes": ["__pycache__"],
                },
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except (OSError, OverflowError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        if "AuthenticationError" in f"{error!r} {error.__cause__}":
            raise PipelineError(
                f"RAY_ADDRESS={address}: the cluster refuses the token: put it into RAY_AUTH_TOKEN, and "
                "RAY_AUTH_MODE=token (`ray get-auth-token` shows it, where the cluster was started)"
            ) from error
        reason = str(error).partition("\n")[0]
        raise PipelineError(
            f"RAY_ADDRESS={address}: no connection ({reason}): name a running cluster that this "
            "machine is a node of, or ray://HOST:10001, its head, from elsewhere"
        ) from error
    return ray


@contextmanager
def _standard_error_shut() -> Iterator[None]:
    """Drops what Ray's C++ code writes to file descriptor 2 of refused tokens and of jobs cut short."""
    saved = os.dup(2)
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _call(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    inputs: tuple[Path, ...],
    outputs: tuple[Path, ...],
    *contents: bytes,
) -> bytes | tuple[bytes, ...]:
    """Runs a job on a node; returns its result, pickled, and what it wrote.

    Pickled, because an array would be a view of Ray's memory, which goes with the connection.
    """
    from ray import cloudpickle

    with tempfile.TemporaryDirectory() as root:
        folders = dict.fromkeys(path.parent for path in inputs + outputs)
        here = {folder: Path(root, str(i), folder.name) for i, folder in enumerate(folders)}
        for folder in here.values():
            folder.mkdir(parents=True)
        local_inputs = tuple(here[path.parent] / path.name for path in inputs)
        local_outputs = tuple(here[path.parent] / path.name for path in outputs)
        for path, content in zip(local_inputs, contents, strict=True):
            path.write_bytes(content)
        try:
            result = cloudpickle.dumps(function(*arguments, local_inputs, local_outputs))
        except PipelineError as error:
            message = str(error)
            for folder, local in here.items():  # what it says is of the files of the caller
                message = message.replace(str(local), str(folder))
            raise PipelineError(message) from None
        return (result, *(path.read_bytes() for path in local_outputs)) if outputs else result
