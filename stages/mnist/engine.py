"""Maps over files: in this process, over the cores of this machine, or over a Ray cluster.

RAY_ADDRESS says which cluster: HOST:PORT from one of its nodes, ray://HOST:PORT from elsewhere. The
nodes need the packages of the lock files; files and the code of this working copy are sent to them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from stages.mnist.processes import local_map

T = TypeVar("T")


class Job(NamedTuple):
    """One call of a map: what it is told, the files that it reads and those that it writes."""

    arguments: tuple[Any, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]


def map_jobs(function: Callable[..., T], jobs: Sequence[Job]) -> Iterator[T]:
    """Calls function(*job.arguments, job.inputs, job.outputs) for each job.

    Same jobs, same results and files, wherever they run. On a cluster a job has its files in a
    temporary folder, under their own names, beside those that they stand beside here.

    Args:
        function: one at the top of a module. It reads and writes no other files; what it returns is
            small, what is large it writes.
        jobs: the folders of their outputs exist.

    Yields:
        The results, in the order of the jobs. The outputs of a job are complete when its result
        comes, not before.

    Raises:
        PipelineError: a process was killed, or the cluster does not answer or gives a job up.
        Exception: the one that a job raised; the others end then.
    """
    address = os.environ.get("RAY_ADDRESS")
    if len(jobs) == 1 and not address:
        (job,) = jobs
        yield function(*job.arguments, job.inputs, job.outputs)
        return
    if address:
        from stages.mnist.cluster import map_on_ray

        results = map_on_ray(address, function, jobs)
    else:
        results = local_map(function, [(*job.arguments, job.inputs, job.outputs) for job in jobs])
    yield from tqdm(results, total=len(jobs), unit=" jobs", disable=None)
