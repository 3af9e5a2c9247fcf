"""Maps a function over jobs: in this process, on all cores of this machine, or on a Ray cluster.

RAY_ADDRESS selects the cluster: HOST:PORT from one of its nodes, ray://HOST:PORT from elsewhere.
The nodes need the packages of the lock files. Inputs and the code of this clone are sent to them.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

from letterpress.jobs.processes import local_map
from letterpress.jobs.shards import Job

T = TypeVar("T")


def map_jobs(function: Callable[..., T], jobs: Sequence[Job]) -> Iterator[T]:
    """Calls function(*job.arguments, job.inputs, job.outputs) for each job.

    Results and files do not depend on where the jobs run. On a cluster, a job gets copies of its
    files in a temporary folder; names, and which files share a folder, are kept. The function is at
    the top level of a module, reads only its inputs, writes only its outputs into existing folders,
    and returns something small.

    Yields:
        The results in the order of the jobs, each once the outputs of its job are complete.

    Raises:
        PipelineError: a worker process was killed, or the cluster cannot be reached or lost a job.
        Exception: what a job raised. The remaining jobs are cancelled.
    """
    address = os.environ.get("RAY_ADDRESS")
    # A worker process would only add the time of its imports.
    if len(jobs) == 1 and not address:
        (job,) = jobs
        yield function(*job.arguments, job.inputs, job.outputs)
        return
    if address:
        from letterpress.jobs.ray import map_on_ray

        results = map_on_ray(address, function, jobs)
    else:
        results = local_map(function, [(*job.arguments, job.inputs, job.outputs) for job in jobs])
    yield from tqdm(results, total=len(jobs), unit=" jobs", disable=None)
