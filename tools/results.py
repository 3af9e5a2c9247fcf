"""Reads metrics and tables; prints the metrics as one Markdown table of at most 80 columns."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dvc.utils.flatten import flatten

from letterpress.core.errors import PipelineError
from letterpress.core.params import read_params

DAMAGED = (AttributeError, csv.Error, LookupError, OSError, RecursionError, TypeError, ValueError)

OTHER = r"(?!mnist/|ascii_letter/)([^/]+)/"
NAMES = {
    r"mnist/accuracy": "digits, accuracy on the test images",
    r"ascii_letter/accuracy_unseen": "letters, accuracy, unseen typefaces",
    r"ascii_letter/accuracy_unseen_text": "letters, unseen text typefaces",
    r"ascii_letter/accuracy_unseen_display": "letters, unseen display typefaces",
    r"ascii_letter/accuracy_unseen_handwriting": "letters, unseen handwriting",
    r"ascii_letter/accuracy_unseen_script": "letters, unseen script",
    r"ascii_letter/accuracy_unseen_pen": "letters of a pen, unseen hands",
    r"ascii_letter/none_sure_trained_unseen": "no letter, known kind, yet sure",
    r"ascii_letter/none_sure_new_unseen": "no letter, new kind, yet sure",
    r"transfer/labels_(\d+)\.transfer_gain": r"transfer gain, labels per class: \1",
    rf"{OTHER}accuracy": r"\1, accuracy on the test images",
    rf"{OTHER}macro_accuracy": r"\1, macro accuracy on the test images",
}
"""The rows: patterns of FOLDER/KEY, and what a reader calls the metric."""


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
    if not metrics and not missing_ok:
        raise PipelineError(
            "dvc.yaml: no metrics. List metric files under `metrics:`, run `dvc repro`"
        )
    return metrics


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table() -> str:
    """Returns the table of the metric files that dvc.yaml lists and that exist."""
    read = read_metrics(Path(), missing_ok=True).items()  # a new pipeline may not have run yet
    metrics = {f"{Path(path).parent.name}/{key}": value for (path, key), value in read}
    rows = [("what", "result", "95 % interval")]
    for pattern, name in NAMES.items():
        found = filter(None, (re.fullmatch(pattern, key) for key in metrics))
        rows += [(one.expand(name), *with_interval(metrics, one[0])) for one in found]
    lines = [f"| {what:37} | {result:>12} | {interval:>21} |" for what, result, interval in rows]
    return "\n".join([lines[0], f"|{'-' * 39}|{'-' * 14}|{'-' * 23}|", *lines[1:]])


def with_interval(metrics: Mapping[str, float], key: str) -> tuple[str, str]:
    """Formats a metric and its interval: gains in percentage points, shares in percent."""
    style, unit = ("+.1f", " points") if "gain" in key else (".2f", " %")
    ends = (key, f"{key}_low", f"{key}_high")
    value, *interval = [f"{100 * metrics[end]:{style}}" for end in ends if end in metrics]
    return f"{value}{unit}", f"{' to '.join(interval)}{unit}" if interval else ""


def main() -> None:
    print(table())
