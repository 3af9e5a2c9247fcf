"""Keeps standard error short: one line for Ctrl-C or a missing package, no logs of C++ code.

Imports the standard library only, to work when packages are missing.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType

from letterpress.core.files import discard_unfinished
from letterpress.core.watch import watch_imports


def prepare() -> None:
    """Prepares for importing a stage: reports failures in one line, notices edits of its code."""
    watch_imports()
    sys.excepthook = _report
    handle_interrupts()


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    package = str(getattr(error, "name", "")).partition(".")[0]
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif isinstance(error, ModuleNotFoundError) and package not in ("letterpress", "stages"):
        print(
            f"error: {sys.executable}: package {package} is not installed. Activate the virtual "
            "environment (`make install` creates it), or pip install -r requirements.txt",
            file=sys.stderr,
        )
    else:
        sys.__excepthook__(kind, error, trace)


def handle_interrupts() -> None:
    """Makes Ctrl-C end this process with one line, even inside TensorFlow, unless it is ignored."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # A duplicate, because descriptor 2 is redirected while TensorFlow is imported.
        standard_error = os.dup(2) if sys.stderr else -1
        signal.signal(signal.SIGINT, partial(_on_interrupt, standard_error))


def _on_interrupt(standard_error: int, number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt, or ends the process if TensorFlow is running.

    While TensorFlow is imported or traces a function, an asynchronous exception may be swallowed or
    replaced, or tracing may loop until memory runs out.
    """
    while frame:
        if frame.f_globals.get("__name__", "").startswith(("tensorflow", "keras")):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would stop the clean-up
            try:
                discard_unfinished()
                clear_bar = b"\r\x1b[K" if os.isatty(standard_error) else b""
                os.write(standard_error, clear_bar + b"interrupted\n")
            finally:
                os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Discards what C++ code, and Python, write to file descriptor 2."""
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
