"""Prints the metrics as one table that fits a terminal, in Markdown: the README holds the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def table(data: Path) -> Iterator[str]:
    """Yields the lines of the table for the metric files in a folder."""
    yield _row("what", "result", "95 % interval")
    yield f"|{'-' * 52}|{'-' * 13}|{'-' * 22}|"
    digits, letters = (_read(data / name / "metrics.json") for name in ("mnist", "ascii_letter"))
    for name, metrics, key in (
        ("digits, accuracy on the test images", digits, "accuracy"),
        ("letters, accuracy on the test images", letters, "accuracy"),
        ("letters, accuracy on unseen typefaces", letters, "accuracy_unseen"),
    ):
        yield _row(name, *_percent(metrics, key))
    for labels, gain in _read(data / "transfer" / "metrics.json").items():
        n_labels = labels.removeprefix("labels_")
        name = f"gain from the digits' features, labels a class: {n_labels}"
        yield _row(name, *_points(gain, "transfer_gain"))


def _percent(metrics: dict[str, float], key: str) -> tuple[str, str]:
    value, low, high = (metrics[key + bound] * 100 for bound in ("", "_low", "_high"))
    return f"{value:.2f} %", f"{low:.2f} to {high:.2f} %"


def _points(metrics: dict[str, float], key: str) -> tuple[str, str]:
    value, low, high = (metrics[key + bound] * 100 for bound in ("", "_low", "_high"))
    return f"{value:+.1f} points", f"{low:+.1f} to {high:+.1f} points"


def _row(what: str, result: str, interval: str) -> str:
    return f"| {what:50} | {result:>11} | {interval:>20} |"


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def main() -> None:
    try:
        print("\n".join(table(Path("data"))))
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing: run `make repro`")


if __name__ == "__main__":
    main()
