"""Prints the metrics as one Markdown table of at most 80 columns, as the README shows it."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

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
}
"""The rows of this project: patterns of FOLDER/KEY, and what a reader calls the metric."""
FOLDERS = {"mnist", "ascii_letter", "conditions", "transfer"}
"""The folders of this project. Of another one (a new pipeline), SHOWN is shown once it has run."""
SHOWN = ("accuracy", "macro_accuracy")


def table(root: Path) -> list[str]:
    """Returns the lines of the table for the metric files that dvc.yaml lists."""
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    metrics: dict[str, float] = {}
    for file in map(Path, list_metrics(pipeline)):
        if file.parent.name not in FOLDERS and not (root / file).exists():
            continue
        values = json.loads((root / file).read_text(encoding="utf-8"))
        for key, value in flatten(values):
            if type(value) in (int, float):
                metrics[f"{file.parent.name}/{key}"] = value
    rows = [("what", "result", "95 % interval")]
    rows += [(name, *_format(metrics, key)) for key, name in _select(metrics)]
    lines = [f"| {what:37} | {result:>12} | {interval:>21} |" for what, result, interval in rows]
    return [lines[0], f"|{'-' * 39}|{'-' * 14}|{'-' * 23}|", *lines[1:]]


def list_metrics(pipeline: Mapping[str, Any]) -> list[str]:
    """Returns the metric files of a dvc.yaml that was read: those at its top, and of its stages."""
    entries = [*pipeline.get("metrics", [])]
    for stage in pipeline.get("stages", {}).values():
        entries += stage.get("metrics", [])
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the values of nested mappings by their path, "outer.inner"."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _select(metrics: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Yields the key and the name of each row: those of this project, then new pipelines."""
    for pattern, name in NAMES.items():
        for key in metrics:
            if found := re.fullmatch(pattern, key):
                yield key, found.expand(name)
    for key in metrics:
        folder, _, name = key.partition("/")
        if folder not in FOLDERS | {"curves"} and name in SHOWN:
            yield key, f"{folder}, {name.replace('_', ' ')} on the test images"


def _format(metrics: dict[str, float], key: str) -> tuple[str, str]:
    """Formats a metric and its interval: shares in percent, gains in percentage points."""
    scale, style, unit = 1, ".4g", ""
    if "accuracy" in key or "sure" in key:
        scale, style, unit = 100, ".2f", " %"
    elif "gain" in key:
        scale, style, unit = 100, "+.1f", " points"
    value, low, high = (
        f"{metrics[name] * scale:{style}}" if name in metrics else None
        for name in (key, f"{key}_low", f"{key}_high")
    )
    return f"{value}{unit}", f"{low} to {high}{unit}" if low and high else ""


def main() -> None:
    try:
        print("\n".join(table(Path())))
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename}: no such file. Run `make repro`")


if __name__ == "__main__":
    main()
