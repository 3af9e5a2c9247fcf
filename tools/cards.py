"""Writes figures into the cards (docs/cards) and the README, between markers, or prints one.

Between `<!-- mistakes mnist/predictions.csv -->` and `<!-- /mistakes -->` is what the function
`mistakes` returns for this file below data/; `python -m tools cards results` prints `results()`.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from tools import markdown
from tools.results import read_metrics, read_rows, reading

DATA = Path("data")
PAGES = ("README.md", *map(str, sorted(Path("docs/cards").glob("*.md"))))
SPLITS = {"_validation": "validation", "": "test", "_unseen": "unseen typefaces"}
"""The ends of file names and metrics, and what a reader calls the split."""
MOST_MISTAKES = 8
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


def results() -> str:
    """Shows the metrics in a table of at most 80 columns."""
    read = read_metrics(Path(), missing_ok=True).items()
    metrics = {f"{Path(path).parent.name}/{key}": value for (path, key), value in read}
    rows = [("what", "result", "95 % interval")]
    for pattern, name in NAMES.items():
        found = filter(None, (re.fullmatch(pattern, key) for key in metrics))
        rows += [(one.expand(name), *_with_interval(metrics, one[0])) for one in found]
    lines = [f"| {what:37} | {result:>12} | {interval:>21} |" for what, result, interval in rows]
    return "\n".join([lines[0], f"|{'-' * 39}|{'-' * 14}|{'-' * 23}|", *lines[1:]])


def accuracy(pipeline: str) -> str:
    """Shows accuracy, loss and calibration of each split of a pipeline."""
    file = DATA / pipeline / "metrics.json"
    if not file.exists():
        return "`make cards` writes them here after `dvc repro`."
    values = json.loads(file.read_text("utf-8"))
    rows = []
    for suffix, name in SPLITS.items():
        if f"accuracy{suffix}" not in values:
            continue
        images = read_rows(DATA / pipeline / f"predictions{suffix}.csv")
        n_images = f"{sum(row['actual'] != 'none' for row in images):,}"  # those of the accuracy
        others = (f"{values[f'{key}{suffix}']:.4f}" for key in ("loss", "calibration_error"))
        none = _percent(values.get(f"none_sure{suffix}", ""))
        share = _with_interval(values, f"accuracy{suffix}")
        rows.append((name, n_images, *share, *others, none))
    header = ("split", "images", "accuracy", "95 % interval", "loss, nats")
    return markdown.table((*header, "calibration error", "none, but sure"), rows)


def mistakes(predictions: str) -> str:
    """Lists the most frequent mistakes. Equally frequent ones are in alphabetical order."""
    pairs = [(row["actual"], row["predicted"]) for row in read_rows(DATA / predictions)]
    counts = Counter(pair for pair in pairs if pair[0] not in ("none", pair[1]))
    ranked = sorted(counts, key=lambda pair: (-counts[pair], pair))
    rows = [(*pair, str(counts[pair])) for pair in ranked[:MOST_MISTAKES]]
    rest = sum(counts[pair] for pair in ranked[MOST_MISTAKES:])
    return markdown.table(("actual", "predicted", "times"), [*rows, ("all others", "", str(rest))])


def unseen_by(field: str) -> str:
    """Lists the groups of the unseen letters, the one with the lowest accuracy first."""
    listed = read_rows(DATA / f"mistakes/accuracy_by_{field}.csv")
    unseen = [row for row in listed if row["split"] == "unseen"]
    ranked = sorted(unseen, key=lambda row: float(row["accuracy"]))
    rows = [(row[field], row["n_letters"], _percent(row["accuracy"])) for row in ranked]
    return markdown.table((field, "letters", "accuracy"), rows)


def splits() -> str:
    """Shows the number of images in each split."""
    rows = []
    for pipeline, name in (("mnist", "digits"), ("ascii_letter", "letters")):
        counts: Counter[str] = Counter()
        for row in read_rows(DATA / "overview" / pipeline / "counts_by_class.csv"):
            counts[row["split"]] += int(row["n"])
        rows.append((name, *(f"{counts[s]:,}" for s in ("train", "validation", "test", "unseen"))))
    return markdown.table(("images", "training", *SPLITS.values()), rows)


def conditions() -> str:
    names = {"accuracy": "right", "sure": "sure", "accuracy_when_sure": "right if sure"}
    columns = {f"{p}_{key}": f"{p}, {names[key]}" for p in ("digits", "letters") for key in names}
    listed = read_rows(DATA / "conditions/accuracy_by_condition.csv")
    rows = [(row["condition"], *(_percent(row[column]) for column in columns)) for row in listed]
    return markdown.table(("pictures", *columns.values()), rows)


def seed_spread() -> str:
    """Returns the accuracies of `make seeds`: mean and standard deviation over the seeds."""
    lines = Path("docs/seeds.md").read_text("utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines]
    values = {row[0]: f"{row[1].removesuffix(' %')} ± {row[2]} %" for row in rows if len(row) == 4}
    return f"digits {values['digits, test']}, unseen letters {values['letters, unseen typefaces']}"


def near_duplicates(pipeline: str) -> str:
    return str(len(read_rows(DATA / "overview" / pipeline / "near_duplicates.csv")))


FUNCTIONS: list[Callable[..., str]] = [results, accuracy, mistakes, unseen_by, splits, conditions]
FUNCTIONS += [seed_spread, near_duplicates]
FIGURES = {function.__name__.replace("_", "-"): function for function in FUNCTIONS}


def _with_interval(metrics: Mapping[str, float], key: str) -> tuple[str, str]:
    """Formats a metric and its interval: gains in percentage points, shares in percent."""
    style, unit = ("+.1f", " points") if "gain" in key else (".2f", " %")
    ends = (key, f"{key}_low", f"{key}_high")
    value, *interval = [f"{100 * metrics[end]:{style}}" for end in ends if end in metrics]
    return f"{value}{unit}", f"{' to '.join(interval)}{unit}" if interval else ""


def _percent(share: float | str) -> str:
    # A pipeline without an output "none" has no such share.
    return f"{100 * float(share):.2f} %" if share != "" else "-"


def main(name: str = "", *words: str) -> None:
    if name:
        print(FIGURES[name](*words))
        return
    for page in map(Path, PAGES):
        with reading(page):  # and the files of its figures
            page.write_text(markdown.rewrite(page.read_text("utf-8"), FIGURES), "utf-8")
