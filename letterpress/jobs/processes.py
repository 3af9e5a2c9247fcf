"""Spreads calls over the cores of this machine."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from tqdm import tqdm

from letterpress.core.errors import PipelineError

T = TypeVar("T")


def progress(items: Iterable[T], name: str, unit: str) -> Iterable[T]:
    """Shows on a terminal how many items have been taken; not in a worker process.

    There, many bars would overwrite each other, and tqdm's semaphore would outlive a killed worker.
    """
    if multiprocessing.parent_process():
        return items
    bar: Iterable[T] = tqdm(items, name, unit=unit, disable=None)
    return bar


def local_map(function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    """Calls function(*arguments) for each of `calls`, in one process per core.

    The function is at the top level of a module. The processes are spawned, not forked, and end
    with this one. At most two calls per process are in flight ahead of the next result.

    Yields:
        The results in the order of the calls.

    Raises:
        PipelineError: a worker process was killed.
        Exception: what a call raised. The remaining calls are cancelled.
    """
    n_processes = min(n_cores(), len(calls)) or 1  # a pool needs at least one
    waiting, in_flight = iter(calls), deque[Future[T]]()
    # A forked process can hang on a lock that one of TensorFlow's threads held.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, context, initializer=_end_with_parent) as pool:
        try:
            while True:
                # Workers inherit this: only the parent reacts to Ctrl-C, and then ends them.
                on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
                for arguments in islice(waiting, 2 * n_processes - len(in_flight)):
                    in_flight.append(pool.submit(function, *arguments))
                signal.signal(signal.SIGINT, on_interrupt)
                if not in_flight:
                    return
                yield in_flight.popleft().result()
        except BrokenProcessPool as error:
            raise PipelineError(
                "a worker process was killed (out of memory?). Free memory and run this again"
            ) from error
        except BaseException:
            # Leaving the `with` block would otherwise wait for the calls in flight.
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def n_cores() -> int:
    """Counts the cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return min(os.cpu_count() or 1, 61)  # a process pool has at most 61 processes on Windows


def _end_with_parent() -> None:
    """Ends this worker when its parent is killed: a pool's workers would otherwise keep waiting."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_and_end() -> None:
        parent.join()
        # sys.exit() would only end this thread.
        os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()
