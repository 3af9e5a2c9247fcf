"""Outputs appear whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
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
            shutil.rmtree(target)
        built.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_json(target: Path, values: Mapping[str, object]) -> None:
    """Writes `values` as indented JSON, floats rounded to six digits: what a reader can compare."""
    rounded = {key: round(v, 6) if isinstance(v, float) else v for key, v in values.items()}
    with replacing(target) as path:
        path.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
