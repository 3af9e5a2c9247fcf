"""Maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Job(NamedTuple):
    arguments: tuple[Any, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]


def map_jobs(function: Callable[..., T], jobs: Sequence[Job]) -> Iterator[T]:
    for job in jobs:
        yield function(*job.arguments, job.inputs, job.outputs)
