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
    line = " ".join(str(error).split())[:200]
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif lack := _find_lack_of_memory(error):
        print(
            f"error: not enough memory ({lack}). End other programs, or use a larger machine",
            file=sys.stderr,
        )
    elif not isinstance(error, ImportError) or package in ("letterpress", "stages"):
        sys.__excepthook__(kind, error, trace)
    elif not isinstance(error, ModuleNotFoundError):
        print(
            f"error: {sys.executable}: package {package} cannot be loaded ({line}). Install the "
            "library that it lacks, or run `make clean install`",
            file=sys.stderr,
        )
    elif package in sys.stdlib_module_names:
        print(
            f"error: {sys.executable}: this Python was built without {package}. Use another: "
            "`make clean install PYTHON=python3.12`",
            file=sys.stderr,
        )
    else:
        print(
            f"error: {sys.executable}: package {package} is not installed. Activate the virtual "
            "environment (`make install` creates it), or pip install -r requirements.txt",
            file=sys.stderr,
        )


def _find_lack_of_memory(error: BaseException | None) -> str | None:
    """Returns the first line of an error about memory, or of one that led to this error."""
    while error:
        if isinstance(error, MemoryError) or any(phrase in str(error) for phrase in _NO_MEMORY):
            return (str(error).splitlines() or ["MemoryError"])[0][:200]
        error = error.__cause__ or error.__context__
    return None


_NO_MEMORY = (
    "Cannot allocate memory",
    "OOM when allocating",
    "can't start new thread",
    "could not create a primitive",
    "failed to map segment",
)
"""What errors of the system, of Python's threads, of TensorFlow, of oneDNN and of imports contain."""


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
