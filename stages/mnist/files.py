"""Outputs appear whole or not at all."""

from __future__ import annotations

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

if sys.platform != "win32":
    import fcntl


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Holds the lock of a file or folder, which ends with the process at the latest, `kill -9` included.

    Yields:
        Whether there are locks: Windows and some file systems have none, there it holds nothing.

    Raises:
        BlockingIOError: another holds it, and `wait` is false.
    """
    if sys.platform == "win32":
        yield False
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
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
    """Yields a path beside `target` to write a file or a folder at; it takes target's place at the end.

    If the block fails, nothing is left and an older `target` stays as it was. What a killed process
    leaves is cleared away by the next one that replaces the same target.

    Example:
        >>> with replacing(Path("data/metrics.json")) as path:  # doctest: +SKIP
        ...     path.write_text("{}")
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.building-"
    with ExitStack() as stack:
        with locked(target.parent):  # so that nobody clears a new folder that is not locked yet
            for left in target.parent.glob(f"{glob.escape(prefix)}*"):
                _clear(left, target)
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
            _unfinished[folder] = target
            stack.callback(_discard, folder)
            stack.enter_context(locked(folder))
        built = folder / target.name  # the same name: Keras goes by its ending
        yield built
        if target.is_dir():
            built.stat()  # fails if nothing was written, before the older folder is gone
            target.rename(folder / ".older")
        built.replace(target)


_unfinished: dict[Path, Path] = {}
"""The folders in which this process builds, and their targets."""


def discard_unfinished() -> None:
    """Removes what is being built, for a process that ends in the middle of it."""
    for folder in list(_unfinished):
        _discard(folder)


def _discard(folder: Path) -> None:
    _remove(folder, _unfinished.pop(folder))


def _clear(folder: Path, target: Path) -> None:
    """Removes what a killed process left."""
    with suppress(BlockingIOError, FileNotFoundError), locked(folder, wait=False) as is_left:
        if is_left:
            _remove(folder, target)


def _remove(folder: Path, target: Path) -> None:
    """Removes a folder in which `target` was built; an older target that was moved away is put back."""
    if not target.exists() and (folder / ".older").exists():
        (folder / ".older").rename(target)
    shutil.rmtree(folder, ignore_errors=True)


def write_json(target: Path, values: Mapping[str, object]) -> None:
    """Writes `values` as indented JSON, floats rounded to six digits: what a reader can compare."""
    with replacing(target) as path:
        path.write_text(
            json.dumps(_rounded(values), indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )


def write_csv(target: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Writes a table as CSV, floats rounded to four digits."""
    with replacing(target) as path, path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows([_rounded(cell, 4) for cell in row] for row in rows)


def _rounded(value: object, digits: int = 6) -> object:
    if isinstance(value, Mapping):
        return {key: _rounded(inner, digits) for key, inner in value.items()}
    return round(value, digits) if isinstance(value, float) else value
