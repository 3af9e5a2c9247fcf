"""The result files of a project: metrics and tables."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dvc.utils.flatten import flatten

from letterpress.core.errors import PipelineError
from letterpress.core.params import read_params

DAMAGED = (AttributeError, csv.Error, LookupError, OSError, RecursionError, TypeError, ValueError)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns the errors of reading a file into a PipelineError that names it."""
    try:
        yield
    except DAMAGED as error:
        raise PipelineError(f"{path}: not readable ({error!r}). Run `dvc repro`") from error


def read_metrics(root: Path, missing_ok: bool = False) -> dict[tuple[str, str], float]:
    """Returns the numbers in the metric files that dvc.yaml lists, by file and key."""
    with reading(root / "dvc.yaml"):
        pipeline = read_params(root / "dvc.yaml")
        listed = [*pipeline.get("metrics", [])]
        for stage in pipeline.get("stages", {}).values():
            listed += stage.get("metrics", [])
        paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in listed]
    metrics: dict[tuple[str, str], float] = {}
    for path in paths:
        if missing_ok and not (root / path).exists():
            continue
        with reading(root / path):
            values = flatten(json.loads((root / path).read_text(encoding="utf-8")))
        metrics |= {(path, k): v for k, v in values.items() if type(v) in (int, float)}
    return metrics


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
