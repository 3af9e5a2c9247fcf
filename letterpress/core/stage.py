"""Runs a stage: one instance at a time; expected errors print one line and exit with code 1."""

import inspect
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from letterpress.core.errors import PipelineError, escape
from letterpress.core.files import locked, scratch
from letterpress.core.interrupts import handle_interrupts
from letterpress.core.watch import check_inputs, watch_inputs


def run(main: Callable[..., None], *arguments: str, alone: bool = True) -> None:
    """Runs a stage. An expected error prints one line on standard error instead of a traceback.

    Call this last, from the main thread: Ctrl-C is ignored once the stage has finished. `alone`
    waits for an older run of the stage in this clone: it may outlive a killed DVC, and would
    overwrite the new outputs.

    Raises:
        SystemExit: code 1 after a PipelineError or an OSError (file not found, disk full,
            permission denied), or if an input changed meanwhile; 130 after Ctrl-C.
    """
    handle_interrupts()
    try:
        with ExitStack() as stack:
            if alone:
                _lock(stack, Path(inspect.getfile(main)))
            stack.enter_context(scratch())
            watch_inputs()
            main(*arguments)
            check_inputs()
    except (PipelineError, OSError) as error:
        message = str(error)
        if isinstance(error, FileNotFoundError) and error.filename:
            message = f"{error.filename}: no such file. Run `dvc repro`, or `dvc pull` if there is a remote"
        print("error:", "\n".join(map(escape, message.split("\n"))), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        # While the interpreter shuts down, Ctrl-C would only print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _lock(stack: ExitStack, code: Path) -> None:
    """Takes the lock of a stage's source file; prints a line before waiting for another process."""
    try:
        stack.enter_context(locked(code, wait=False))
    except BlockingIOError:
        print("another run of this stage is still active: waiting", file=sys.stderr)
        stack.enter_context(locked(code))
