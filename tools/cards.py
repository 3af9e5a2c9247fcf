"""Writes the figures into the cards (docs/cards) and the README, from params.yaml and the metric files.

A figure stands between <!-- NAME --> and <!-- /NAME -->; what is between the two is written anew.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from tools.metrics import table

PAGES = ("README.md", "docs/cards/data.md", "docs/cards/digits.md", "docs/cards/letters.md")
_MOST_MISTAKES = 8


def figures(root: Path) -> dict[str, Callable[[], str]]:
    """Returns the function that words each figure of the project in a folder, by its name."""
    data = root / "data"
    letters, digits = data / "ascii_letter", data / "mnist"
    return {
        "results": lambda: "\n".join(table(data)),
        "digits-results": lambda: _results(digits, {"": "test digits"}),
        "digits-mistakes": lambda: _mistakes(digits / "predictions.csv"),
        "letters-results": lambda: _results(
            letters,
            {"": "test letters, in typefaces of the training", "_unseen": "unseen typefaces"},
        ),
        "letters-mistakes": lambda: _mistakes(letters / "predictions_unseen.csv"),
        "letters-families": lambda: _groups(data / "mistakes/accuracy_by_family.csv", "family"),
        "letters-cases": lambda: _groups(data / "mistakes/accuracy_by_case.csv", "case"),
        "i-or-l": lambda: _i_or_l(letters),
        "shared": lambda: _shared(data, ""),
        "shared-unseen": lambda: _shared(data, "_unseen"),
        "transfer": lambda: _transfer(data / "transfer/curve.csv"),
        "data-splits": lambda: _splits(yaml.safe_load((root / "params.yaml").read_text("utf-8"))),
    }


def rewrite(text: str, known: dict[str, Callable[[], str]]) -> str:
    """Puts the figures of today into a page: those of several lines with empty lines around them.

    Raises:
        KeyError: the page has the name of a figure that is not known.
    """

    def filled(found: re.Match[str]) -> str:
        figure = known[found[1]]()
        space = "\n\n" if "\n" in figure else ""
        return f"<!-- {found[1]} -->{space}{figure}{space}<!-- /{found[1]} -->"

    return re.sub(r"<!-- ([\w-]+) -->.*?<!-- /\1 -->", filled, text, flags=re.DOTALL)


def _results(folder: Path, splits: dict[str, str]) -> str:
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    rows = []
    for suffix, name in splits.items():
        low, high = (metrics[f"accuracy{suffix}_{bound}"] for bound in ("low", "high"))
        rows.append(
            (
                name,
                f"{len(_rows(folder / f'predictions{suffix}.csv')):,}",
                _percent(metrics[f"accuracy{suffix}"]),
                f"{_percent(low)} to {_percent(high)}",
                f"{metrics[f'loss{suffix}']:.4f}",
            )
        )
    return markdown_table(
        ("images", "number", "accuracy", "95 % interval (Wilson)", "loss, nats"), rows
    )


def _mistakes(predictions: Path) -> str:
    """The most frequent mistakes; those of the same number in the order of their names."""
    counts = Counter((r["actual"], r["predicted"]) for r in _wrong(predictions))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = [(*pair, str(count)) for pair, count in ranked[:_MOST_MISTAKES]]
    rest = sum(count for _, count in ranked[_MOST_MISTAKES:])
    return markdown_table(("is", "taken for", "times"), [*rows, ("all others", "", str(rest))])


def _groups(path: Path, column: str) -> str:
    ranked = sorted(_rows(path), key=lambda row: float(row["accuracy"]))
    rows = [(r[column], r["n_letters"], _percent(float(r["accuracy"]))) for r in ranked]
    return markdown_table((column, "letters", "accuracy"), rows)


def _transfer(curve: Path) -> str:
    """The mean accuracy over the seeds, by number of labels and start."""
    values: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in _rows(curve):
        values[row["labels_per_class"], row["start"]].append(float(row["accuracy"]))
    starts = list(dict.fromkeys(start for _, start in values))
    rows = [
        (n_labels, *(f"{mean(values[n_labels, start]):.1%}".replace("%", " %") for start in starts))
        for n_labels in dict.fromkeys(n_labels for n_labels, _ in values)
    ]
    return markdown_table(("labels a class", *starts), rows)


def _i_or_l(letters: Path) -> str:
    wrong = [r for name in ("", "_unseen") for r in _wrong(letters / f"predictions{name}.csv")]
    between = sum({row["actual"], row["predicted"]} == {"i", "l"} for row in wrong)
    return f"{between} of the {len(wrong)}"


def _shared(data: Path, suffix: str) -> str:
    shared = json.loads((data / "mistakes/ceiling.json").read_text("utf-8"))[f"shared{suffix}"]
    total = len(_rows(data / f"ascii_letter/predictions{suffix}.csv"))
    return f"{shared} of the {total:,}"


def _splits(params: dict[str, Any]) -> str:
    rows = []
    for section, name in (("mnist", "digits"), ("ascii_letter", "letters")):
        own = params[section]
        counts = [own["n_train_samples"], own["n_test_samples"]]
        counts.append(own.get("n_unseen_per_class", 0) * own["n_classes"])
        size = f"{own['image_height']} x {own['image_width']}"
        rows.append((name, str(own["n_classes"]), size, *(f"{n:,}" if n else "-" for n in counts)))
    header = ("images", "classes", "pixels", "training", "test", "unseen typefaces")
    return markdown_table(header, rows)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _wrong(predictions: Path) -> list[dict[str, str]]:
    return [row for row in _rows(predictions) if row["actual"] != row["predicted"]]


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    root = Path()
    known = figures(root)
    for page in PAGES:
        text = (root / page).read_text("utf-8")
        try:
            written = rewrite(text, known)
        except (KeyError, OSError) as error:
            sys.exit(f"error: {page}: {error}: run `dvc repro` for figures that are missing")
        if written != text:
            (root / page).write_text(written, "utf-8")
            print(f"{page}: written")


if __name__ == "__main__":
    main()
