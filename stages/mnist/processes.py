"""Calls spread over the cores of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from stages.mnist.errors import PipelineError

T = TypeVar("T")

HIDDEN = True if multiprocessing.parent_process() else None
"""Whether progress bars are hidden: where several processes draw them, else (None) off a terminal."""


def local_map(function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    """Calls function(*arguments) for each of `calls` in as many processes as there are cores.

    The processes are new ones, which import what they need, and none outlives this one. At most two
    calls a process are begun ahead of the result that is yielded next.

    Args:
        function: one at the top of a module.
        calls: the arguments of each call.

    Yields:
        The results, in the order of the calls.

    Raises:
        PipelineError: a process was killed.
        Exception: the one that a call raised; the others end then.
    """
    n_processes = min(n_cores(), len(calls)) or 1
    waiting, begun = iter(calls), deque[Future[T]]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, context, initializer=_end_with_parent) as pool:
        try:
            while True:
                # The processes inherit it: Ctrl-C ends this one, and this one ends them.
                on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
                for arguments in islice(waiting, 2 * n_processes - len(begun)):
                    begun.append(pool.submit(function, *arguments))
                signal.signal(signal.SIGINT, on_interrupt)
                if not begun:
                    return
                yield begun.popleft().result()
        except BrokenProcessPool as error:
            raise PipelineError(
                "a process of this stage was killed, for want of memory?"
            ) from error
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def n_cores() -> int:
    """Counts the cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return min(os.cpu_count() or 1, 61)  # the most processes that a pool has on Windows


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, which a process of a pool does not do by itself."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_and_end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()
