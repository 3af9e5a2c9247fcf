"""Outputs appear whole or not at all."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yields a path beside `target` to write a file or a folder at; it takes target's place at the end.

    If the block fails, nothing is left and an older `target` stays as it was.

    Example:
        >>> with replacing(Path("data/metrics.json")) as path:  # doctest: +SKIP
        ...     path.write_text("{}")
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        built = folder / target.name  # the same name: Keras goes by its ending
        yield built
        if target.is_dir():
            built.stat()  # fails if nothing was written, before the older folder is gone
            target.rename(folder / ".older")
        try:
            built.replace(target)
        except OSError:
            if (folder / ".older").exists():
                (folder / ".older").rename(target)
            raise
    finally:
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
