"""Prints the metrics as one Markdown table of at most 80 columns, as the README shows it."""

import re
from collections.abc import Mapping
from pathlib import Path

from tools.results import read_metrics

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
