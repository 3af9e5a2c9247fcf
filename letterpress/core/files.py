"""Writes outputs completely or not at all, and locks files against other processes."""

import csv
import glob
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from letterpress.core.errors import PipelineError
from letterpress.core.watch import check_inputs

if sys.platform != "win32":
    import fcntl


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Holds the lock of a file or folder. The lock ends with the process, even after `kill -9`.

    Yields False on Windows and on file systems without locks. Raises a BlockingIOError if another
    process holds the lock and `wait` is false.
    """
    if sys.platform == "win32":
        yield False
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        except BlockingIOError:
            raise
        except OSError:
            held = False
        yield held
    finally:
        os.close(descriptor)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yields a path to write a file or folder at, which replaces `target` when the block succeeds.

    If the block fails, or an input of the stage has changed, its files are removed and `target` is
    unchanged. If the process is killed, the next one that replaces the same target removes them.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _unfinished_folder(target.parent, f".{target.name}.building-", target) as folder:
        built = folder / target.name  # the same name: Keras reads the format from the suffix
        yield built
        check_inputs()
        if target.is_dir():
            target.rename(folder / ".older")
        built.replace(target)


@contextmanager
def scratch() -> Iterator[None]:
    """Gives this process and its children a TMPDIR of their own, removed at the end.

    TensorFlow writes generated code there. If the process is killed, the next one removes it.
    """
    parent = Path(tempfile.gettempdir())
    with _unfinished_folder(parent, ".letterpress-scratch-", parent) as locked_folder:
        folder = locked_folder / "tmp"  # in which a child can lock folders of its own
        folder.mkdir()
        try:
            os.environ["TMPDIR"], tempfile.tempdir = str(folder), None  # None: reads TMPDIR again
            yield
        finally:
            os.environ["TMPDIR"], tempfile.tempdir = str(parent), None


@contextmanager
def _unfinished_folder(parent: Path, prefix: str, target: Path) -> Iterator[Path]:
    """Yields a new folder, locked while it is used. Removes those that killed processes left."""
    with ExitStack() as stack:
        with locked(parent):  # another process could remove a folder that is not yet locked
            for leftover in parent.glob(f"{glob.escape(prefix)}*"):
                with suppress(*_NOT_OURS), locked(leftover, False) as free:
                    if free:
                        _remove(leftover, target)
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            _unfinished[folder] = target
            stack.callback(_remove, folder, target)
            stack.enter_context(locked(folder))
        yield folder


_NOT_OURS = BlockingIOError, FileNotFoundError, PermissionError
"""A running process holds the lock of its folder, has just removed it, or is another user's."""
_unfinished: dict[Path, Path] = {}
"""The temporary folders of this process, and the target of each."""


def discard_unfinished() -> None:
    """Removes all unfinished outputs. Call this before ending the process abruptly."""
    for folder, target in list(_unfinished.items()):
        _remove(folder, target)


def _remove(folder: Path, target: Path) -> None:
    """Removes a temporary folder; restores an older target that was already moved into it."""
    if not target.exists() and (folder / ".older").exists():
        (folder / ".older").rename(target)
    shutil.rmtree(folder, ignore_errors=True)
    _unfinished.pop(folder, None)


def write_json(target: Path, values: Mapping[str, object]) -> None:
    """Writes `values` as indented JSON, with floats rounded to six digits.

    Raises:
        PipelineError: a value is NaN or infinite, which JSON cannot express.
    """
    try:
        text = json.dumps(_rounded(values), indent=2, allow_nan=False)
    except ValueError as error:
        raise PipelineError(
            f"{target}: expected finite numbers (got {values!s:.200}). "
            "Train again with a lower learning_rate"
        ) from error
    with replacing(target) as path:
        path.write_text(text + "\n", encoding="utf-8")


def write_csv(target: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Writes a table as CSV, with floats rounded to four digits."""
    with replacing(target) as path, path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows([_rounded(cell, 4) for cell in row] for row in rows)


def _rounded(value: object, digits: int = 6) -> object:
    if isinstance(value, Mapping):
        return {key: _rounded(inner, digits) for key, inner in value.items()}
    return round(value, digits) if isinstance(value, float) else value
