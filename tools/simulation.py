"""Simulates `stages/mnist/cluster.py`: jobs on machines that differ and get lost, and the one driver they all talk to."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import NamedTuple


class Cluster(NamedTuple):
    """Machines, and the driver that begins their jobs and fetches what they wrote."""

    speeds: Sequence[float]
    """Of each machine: a job of one second takes 1 / speed seconds."""
    n_cores: int = 1
    """Of each machine. A core runs one job at a time."""
    send: float = 0.0
    """Seconds of the driver for a job's inputs."""
    fetch: float = 0.0
    """Seconds of the driver for a job's outputs. It sends and fetches one thing at a time."""
    ahead: float = math.inf
    """So many jobs per core that is there are begun and not yet fetched."""
    mean_life: float = math.inf
    """Seconds until a machine is lost, on average (exponential), with what runs and lies on it."""
    repair: float = 0.0
    """Seconds until another takes its place."""
    max_retries: float = math.inf
    """How often a job is begun anew."""


class GivenUpError(Exception):
    """A job was lost more often than it may be begun anew."""


def ideal(jobs: Sequence[float], cluster: Cluster) -> float:
    """Returns the seconds that the jobs take where no core ever waits and nothing gets lost."""
    return sum(jobs) / (cluster.n_cores * sum(cluster.speeds))


def makespan(jobs: Sequence[float], cluster: Cluster, seed: int = 0) -> float:
    """Returns the seconds until the last output is fetched; the same for the same arguments.

    Args:
        jobs: the seconds of each, in the order in which they are begun.
        cluster: where they run. A free core takes the job that was begun or lost first.
        seed: of the moments at which machines are lost.

    Raises:
        GivenUpError: a job was lost more often than max_retries.
    """
    random = Random(seed)
    events: list[tuple[float, int, Callable[..., None], tuple[int, ...]]] = []
    order = count()
    now = 0.0
    lives = [0] * len(cluster.speeds)  # how many machines there were in the place of each
    held: list[set[int]] = [set() for _ in cluster.speeds]  # jobs that run or lie there
    place = [0] * len(jobs)  # the machine of each
    idle: deque[tuple[int, int]] = deque()  # cores: machine, life
    queued, ready = deque[int](), deque[int]()
    retries = [0] * len(jobs)
    begun = n_fetched = n_cores = 0
    driver_is_free = True

    def after(seconds: float, what: Callable[..., None], *arguments: int) -> None:
        heappush(events, (now + seconds, next(order), what, arguments))

    def assign() -> None:
        while queued and idle:
            machine, life = idle.popleft()
            if life == lives[machine]:
                job = queued.popleft()
                held[machine].add(job)
                place[job] = machine
                after(jobs[job] / cluster.speeds[machine], end, job, machine, life)

    def drive() -> None:
        nonlocal begun, driver_is_free
        if driver_is_free and begun < len(jobs) and begun - n_fetched < cluster.ahead * n_cores:
            driver_is_free = False
            after(cluster.send, sent, begun)
            begun += 1
        elif driver_is_free and ready:
            driver_is_free = False
            job = ready.popleft()
            held[place[job]].discard(job)  # what is being fetched is not lost
            after(cluster.fetch, got, job)

    def sent(job: int) -> None:
        nonlocal driver_is_free
        driver_is_free = True
        queued.append(job)

    def end(job: int, machine: int, life: int) -> None:
        if life == lives[machine]:
            idle.append((machine, life))
            ready.append(job)

    def got(job: int) -> None:
        nonlocal driver_is_free, n_fetched
        driver_is_free = True
        n_fetched += 1

    def lose(machine: int) -> None:
        nonlocal n_cores
        n_cores -= cluster.n_cores
        lives[machine] += 1
        for job in sorted(held[machine]):
            retries[job] += 1
            if retries[job] > cluster.max_retries:
                raise GivenUpError(f"job {job} was lost {retries[job]} times")
            if job in ready:
                ready.remove(job)
            queued.append(job)
        held[machine].clear()
        after(cluster.repair, join, machine)

    def join(machine: int) -> None:
        nonlocal n_cores
        n_cores += cluster.n_cores
        idle.extend([(machine, lives[machine])] * cluster.n_cores)
        if cluster.mean_life < math.inf:
            after(random.expovariate(1 / cluster.mean_life), lose, machine)

    for machine in range(len(cluster.speeds)):
        join(machine)
    drive()
    while n_fetched < len(jobs):
        now, _, what, arguments = heappop(events)
        what(*arguments)
        assign()
        drive()
    return now
