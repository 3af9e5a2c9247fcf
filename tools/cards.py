"""Writes figures into the cards (docs/cards) and the README, between <!-- NAME --> markers."""

import csv
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.typefaces import read_families
from letterpress.core.params import read_params
from letterpress.images.config import ImagesConfig
from letterpress.mnist.config import MnistConfig
from tools import markdown, metrics

PAGES = ("README.md", "docs/transfer.md", *map(str, sorted(Path("docs/cards").glob("*.md"))))
MOST_MISTAKES = 8


def figures(root: Path) -> dict[str, Callable[[], str]]:
    """Returns, for the project in a folder, the function that writes each figure, by name."""
    digits, letters, mistakes = (root / "data" / n for n in ("mnist", "ascii_letter", "mistakes"))
    of_digits = {"_validation": "validation digits", "": "test digits"}
    of_letters = {
        "_validation": "validation typefaces",
        "": "test letters, in typefaces of the training",
        "_unseen": "unseen typefaces",
    }
    return {
        "results": lambda: "\n".join(metrics.table(root)),
        "conditions": lambda: _conditions(root / "data/conditions/accuracy_by_condition.csv"),
        "digits-results": lambda: _results(digits, of_digits),
        "digits-mistakes": lambda: _mistakes(digits / "predictions.csv"),
        "letters-results": lambda: _results(letters, of_letters),
        "letters-mistakes": lambda: _mistakes(letters / "predictions_unseen.csv"),
        "letters-families": lambda: _groups(
            mistakes / "accuracy_by_family.csv", "family", "unseen"
        ),
        "letters-styles": lambda: _groups(mistakes / "accuracy_by_style.csv", "style", "unseen"),
        "letters-cases": lambda: _groups(mistakes / "accuracy_by_case.csv", "case", "unseen"),
        "families": lambda: _families(),
        "i-or-l": lambda: _i_or_l(letters),
        "transfer": lambda: _transfer(root / "data/transfer/curve.csv"),
        "near-duplicates": lambda: _near_duplicates(root / "data/overview"),
        "data-splits": lambda: _splits(root / "params.yaml"),
        **_of_new_pipelines(root),
    }


def _of_new_pipelines(root: Path) -> dict[str, Callable[[], str]]:
    names = ImagesConfig.list_names(read_params(root / "dvc.yaml"))
    return {
        f"{name}-results": partial(_new_results, root / "data" / name)
        for name in names
        if (root / f"docs/cards/{name}.md").exists()
    }


def _new_results(folder: Path) -> str:
    if not (folder / "metrics.json").exists():
        return "`make cards` writes them here after `dvc repro`."
    return _results(folder, {"_validation": "validation images", "": "test images"})


def _results(folder: Path, splits: dict[str, str]) -> str:
    values = json.loads((folder / "metrics.json").read_text("utf-8"))
    rows = []
    for suffix, name in splits.items():
        n_images = f"{len(_rows(folder / f'predictions{suffix}.csv')):,}"
        keys = [f"accuracy{suffix}{bound}" for bound in ("", "_low", "_high")]
        accuracy, low, high = (_percent(values[key]) for key in keys)
        others = (f"{values[f'{key}{suffix}']:.4f}" for key in ("loss", "calibration_error"))
        rows.append((name, n_images, accuracy, f"{low} to {high}", *others))
    header = ("images", "number", "accuracy", "95 % interval", "loss, nats", "calibration error")
    return markdown.table(header, rows)


def _mistakes(predictions: Path) -> str:
    """Lists the most frequent mistakes. Equally frequent ones are in alphabetical order."""
    counts = Counter((r["actual"], r["predicted"]) for r in _wrong(predictions))
    ranked = sorted(counts, key=lambda pair: (-counts[pair], pair))
    rows = [(*pair, str(counts[pair])) for pair in ranked[:MOST_MISTAKES]]
    rest = sum(counts[pair] for pair in ranked[MOST_MISTAKES:])
    return markdown.table(("actual", "predicted", "times"), [*rows, ("all others", "", str(rest))])


def _groups(path: Path, column: str, split: str) -> str:
    chosen = [row for row in _rows(path) if row["split"] == split]
    ranked = sorted(chosen, key=lambda row: float(row["accuracy"]))
    rows = [(r[column], r["n_letters"], _percent(float(r["accuracy"]))) for r in ranked]
    return markdown.table((column, "letters", "accuracy"), rows)


def _families() -> str:
    """Lists the typeface families by style and split."""
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for family in read_families():
        groups[family.style, family.split].append(family.family)
    rows = [(style, split, ", ".join(names)) for (style, split), names in groups.items()]
    return markdown.table(("style", "split", "families"), rows)


def _i_or_l(letters: Path) -> str:
    wrong = [r for name in ("", "_unseen") for r in _wrong(letters / f"predictions{name}.csv")]
    between = sum({row["actual"], row["predicted"]} == {"i", "l"} for row in wrong)
    return f"{between} of the {len(wrong)}"


def _transfer(curve: Path) -> str:
    """Lists the mean accuracy over the seeds, by number of labels and start."""
    values: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in _rows(curve):
        values[row["labels_per_class"], row["start"]].append(float(row["accuracy"]))
    starts = list(dict.fromkeys(start for _, start in values))
    rows = [
        (n_labels, *(f"{mean(values[n_labels, start]) * 100:.1f} %" for start in starts))
        for n_labels in dict.fromkeys(n_labels for n_labels, _ in values)
    ]
    return markdown.table(("labels per class", *starts), rows)


def _splits(path: Path) -> str:
    rows = []
    for config_class, name in ((MnistConfig, "digits"), (AsciiLetterConfig, "letters")):
        config = config_class.from_yaml(path)
        n_train = config.n_train_samples + config.n_none(config.n_train_samples)
        data = path.parent / "data" / config.section
        tables = (data / f"predictions{suffix}.csv" for suffix in ("_validation", "", "_unseen"))
        counts = [f"{len(_rows(table)):,}" if table.exists() else "-" for table in tables]
        size = f"{config.image_height} x {config.image_width}"
        rows.append((name, str(config.n_classes), size, f"{n_train:,}", *counts))
    header = ("images", "classes", "pixels", "training", "validation", "test", "unseen typefaces")
    return markdown.table(header, rows)


def _conditions(path: Path) -> str:
    header = ["pictures"]
    names = {"accuracy": "right", "sure": "sure", "accuracy_when_sure": "right if sure"}
    header += [
        f"{pipeline}, {name}" for pipeline in ("digits", "letters") for name in names.values()
    ]
    rows = [
        (
            row["condition"],
            *(
                _percent(float(value)) if (value := row[f"{pipeline}_{key}"]) else "-"
                for pipeline in ("digits", "letters")
                for key in names
            ),
        )
        for row in _rows(path)
    ]
    return markdown.table(header, rows)


def _near_duplicates(overview: Path) -> str:
    names = {"mnist": "digits", "ascii_letter": "letters"}
    counts = {n: len(_rows(overview / n / "near_duplicates.csv")) for n in names}
    return " and ".join(f"{counts[n]} of the {name}" for n, name in names.items())


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _wrong(predictions: Path) -> list[dict[str, str]]:
    rows = _rows(predictions)
    return [row for row in rows if row["actual"] not in ("none", row["predicted"])]


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def main() -> None:
    known = figures(Path())
    for page in map(Path, PAGES):
        try:
            text = markdown.rewrite(page.read_text("utf-8"), known)
        except (KeyError, OSError) as error:
            sys.exit(f"error: {page}: a figure is missing ({error}). Run `dvc repro`")
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
