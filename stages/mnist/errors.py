"""How a stage runs: alone in its clone; where something is wrong it ends with one line, exit code 1."""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType

from stages.mnist.files import discard_unfinished, locked


class PipelineError(Exception):
    """Something outside the program is wrong. The message says what, where, and what to do."""


def run(main: Callable[[], None], alone: bool = True) -> None:
    """Runs a stage. An expected failure is one line on standard error instead of a traceback.

    It is the last that a program does, in its main thread: from its end on Ctrl-C is ignored.

    Args:
        main: the stage.
        alone: where the same stage of this clone still runs, as after a `kill -9` of dvc, waits for
            its end: what the older run writes would stand in the place of the newer one's.

    Raises:
        SystemExit: code 1 after a PipelineError or an operating system's error (no such file, disk
            full, permission denied), 130 after Ctrl-C.
    """
    handle_interrupts()
    try:
        with _alone(Path(inspect.getfile(main))) if alone else nullcontext():
            main()
    except (PipelineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        # All is done: in the interpreter's own end, Ctrl-C would give no more than a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def handle_interrupts() -> None:
    """Lets Ctrl-C end this process with one line, in TensorFlow too, unless it ignores Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # A copy: while TensorFlow is imported, the standard error is held back.
        standard_error = os.dup(2) if sys.stderr else -1
        signal.signal(signal.SIGINT, partial(_on_interrupt, standard_error))


def _on_interrupt(standard_error: int, number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt, but not through TensorFlow: there it ends the process.

    While TensorFlow is imported, or traces a function, an exception that comes from nowhere may be
    lost or become another, or what is being traced goes on for ever and takes all memory.
    """
    while frame:
        if frame.f_globals.get("__name__", "").startswith(("tensorflow", "keras")):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would leave half of it
            try:
                discard_unfinished()
                clear_bar = b"\r\x1b[K" if os.isatty(standard_error) else b""
                os.write(standard_error, clear_bar + b"interrupted\n")
            finally:
                os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


@contextmanager
def _alone(code: Path) -> Iterator[None]:
    """Holds the lock of a stage's code; waits, and says so, while another process holds it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(code, wait=False))
        except BlockingIOError:
            print("another run of this stage is not over: waiting for its end", file=sys.stderr)
            stack.enter_context(locked(code))
        yield
