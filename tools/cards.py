"""Writes figures into the cards (docs/cards) and the README, between markers.

Between `<!-- mistakes mnist/predictions.csv -->` and `<!-- /mistakes -->`, for example, is what the
function `mistakes` returns for this file below data/.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.mnist.config import MnistConfig
from tools import markdown, metrics
from tools.results import read_rows, reading

PAGES = ("README.md", "docs/transfer.md", *map(str, sorted(Path("docs/cards").glob("*.md"))))
SPLITS = {"_validation": "validation", "": "test", "_unseen": "unseen typefaces"}
"""The ends of file names and metrics, and what a reader calls the split."""
MOST_MISTAKES = 8


def figure(root: Path, name: str, *words: str) -> str:
    """Returns what belongs between the markers of a figure, for the project in a folder."""
    return FIGURES[name](root / "data", *words)


def results(data: Path) -> str:
    """Shows the table of the README."""
    return metrics.table(data.parent)


def accuracy(data: Path, pipeline: str) -> str:
    """Shows accuracy, loss and calibration of each split of a pipeline."""
    if not (data / pipeline / "metrics.json").exists():
        return "`make cards` writes them here after `dvc repro`."
    values = json.loads((data / pipeline / "metrics.json").read_text("utf-8"))
    rows = []
    for suffix, name in SPLITS.items():
        if f"accuracy{suffix}" not in values:
            continue
        images = read_rows(data / pipeline / f"predictions{suffix}.csv")
        n_images = f"{sum(row['actual'] != 'none' for row in images):,}"  # those of the accuracy
        keys = [f"accuracy{suffix}{bound}" for bound in ("", "_low", "_high")]
        share, low, high = (_percent(values[key]) for key in keys)
        others = (f"{values[f'{key}{suffix}']:.4f}" for key in ("loss", "calibration_error"))
        none = _percent(values.get(f"none_sure{suffix}", ""))
        rows.append((name, n_images, share, f"{low} to {high}", *others, none))
    header = ("split", "images", "accuracy", "95 % interval", "loss, nats")
    return markdown.table((*header, "calibration error", "none, but sure"), rows)


def mistakes(data: Path, predictions: str) -> str:
    """Lists the most frequent mistakes. Equally frequent ones are in alphabetical order."""
    counts = Counter((r["actual"], r["predicted"]) for r in _wrong(data / predictions))
    ranked = sorted(counts, key=lambda pair: (-counts[pair], pair))
    rows = [(*pair, str(counts[pair])) for pair in ranked[:MOST_MISTAKES]]
    rest = sum(counts[pair] for pair in ranked[MOST_MISTAKES:])
    return markdown.table(("actual", "predicted", "times"), [*rows, ("all others", "", str(rest))])


def unseen_by(data: Path, field: str) -> str:
    """Lists the groups of the unseen letters, the one with the lowest accuracy first."""
    listed = read_rows(data / f"mistakes/accuracy_by_{field}.csv")
    unseen = [row for row in listed if row["split"] == "unseen"]
    ranked = sorted(unseen, key=lambda row: float(row["accuracy"]))
    rows = [(row[field], row["n_letters"], _percent(row["accuracy"])) for row in ranked]
    return markdown.table((field, "letters", "accuracy"), rows)


def i_or_l(data: Path) -> str:
    tables = (data / f"ascii_letter/predictions{split}.csv" for split in ("", "_unseen"))
    wrong = [row for table in tables for row in _wrong(table)]
    between = sum({row["actual"], row["predicted"]} == {"i", "l"} for row in wrong)
    return f"{between} of the {len(wrong)}"


def transfer(data: Path) -> str:
    """Lists the mean accuracy over the seeds, by number of labels and start."""
    values: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in read_rows(data / "transfer/curve.csv"):
        values[row["labels_per_class"]][row["start"]].append(100 * float(row["accuracy"]))
    rows = [(n, *(f"{mean(v):.1f} %" for v in starts.values())) for n, starts in values.items()]
    return markdown.table(("labels per class", *next(iter(values.values()))), rows)


def splits(data: Path) -> str:
    """Shows the number and the size of the images."""
    rows = []
    for config_class, name in ((MnistConfig, "digits"), (AsciiLetterConfig, "letters")):
        config = config_class.from_yaml(data.parent / "params.yaml")
        n_train = config.n_train_samples + config.n_none(config.n_train_samples)
        tables = (data / config.section / f"predictions{suffix}.csv" for suffix in SPLITS)
        counts = [f"{len(read_rows(table)):,}" if table.exists() else "-" for table in tables]
        size = f"{config.image_height} x {config.image_width}"
        rows.append((name, str(config.n_classes), size, f"{n_train:,}", *counts))
    return markdown.table(("images", "classes", "pixels", "training", *SPLITS.values()), rows)


def conditions(data: Path) -> str:
    names = {"accuracy": "right", "sure": "sure", "accuracy_when_sure": "right if sure"}
    columns = {f"{p}_{key}": f"{p}, {names[key]}" for p in ("digits", "letters") for key in names}
    listed = read_rows(data / "conditions/accuracy_by_condition.csv")
    rows = [(row["condition"], *(_percent(row[column]) for column in columns)) for row in listed]
    return markdown.table(("pictures", *columns.values()), rows)


def seed_spread(data: Path) -> str:
    """Returns the accuracies of `make seeds`: mean and standard deviation over the seeds."""
    lines = (data.parent / "docs/seeds.md").read_text("utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines]
    values = {row[0]: f"{row[1].removesuffix(' %')} ± {row[2]} %" for row in rows if len(row) == 4}
    return f"digits {values['digits, test']}, unseen letters {values['letters, unseen typefaces']}"


def near_duplicates(data: Path, pipeline: str) -> str:
    return str(len(read_rows(data / "overview" / pipeline / "near_duplicates.csv")))


FUNCTIONS: list[Callable[..., str]] = [
    *(results, accuracy, mistakes, unseen_by, i_or_l, transfer, splits, conditions),
    *(seed_spread, near_duplicates),
]
FIGURES = {function.__name__.replace("_", "-"): function for function in FUNCTIONS}


def _wrong(predictions: Path) -> list[dict[str, str]]:
    rows = read_rows(predictions)
    return [row for row in rows if row["actual"] not in ("none", row["predicted"])]


def _percent(share: float | str) -> str:
    # A pipeline without an output "none" has no such share.
    return f"{float(share):.2%}".replace("%", " %") if share != "" else "-"


def main() -> None:
    for page in map(Path, PAGES):
        with reading(page):  # and the files of its figures
            page.write_text(
                markdown.rewrite(page.read_text("utf-8"), partial(figure, Path())), "utf-8"
            )
