"""How a stage runs: alone in its clone; where something is wrong it ends with one line, exit code 1."""

from __future__ import annotations

import inspect
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from stages.mnist.files import locked


class PipelineError(Exception):
    """Something outside the program is wrong. The message says what, where, and what to do."""


def run(main: Callable[[], None], alone: bool = True) -> None:
    """Runs a stage. An expected failure is one line on standard error instead of a traceback.

    Args:
        main: the stage.
        alone: where the same stage of this clone still runs, as after a `kill -9` of dvc, waits for
            its end: what the older run writes would stand in the place of the newer one's.

    Raises:
        SystemExit: code 1 after a PipelineError or an operating system's error (no such file, disk
            full, permission denied), 130 after Ctrl-C.
    """
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
