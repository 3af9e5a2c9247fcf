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
    data = root / "data"
    digits, letters = data / "mnist", data / "ascii_letter"
    of_letters = {
        "_validation": "validation typefaces",
        "": "test letters, in typefaces of the training",
        "_unseen": "unseen typefaces",
    }
    written = {
        "results": lambda: "\n".join(metrics.table(root)),
        "conditions": lambda: _conditions(data / "conditions/accuracy_by_condition.csv"),
        "digits-results": lambda: _results(digits, _splits_of("digits")),
        "digits-mistakes": lambda: _mistakes(digits / "predictions.csv"),
        "letters-results": lambda: _results(letters, of_letters),
        "letters-mistakes": lambda: _mistakes(letters / "predictions_unseen.csv"),
        "letters-families": lambda: _groups(data, "family"),
        "letters-styles": lambda: _groups(data, "style"),
        "letters-cases": lambda: _groups(data, "case"),
        "families": _families,
        "i-or-l": lambda: _i_or_l(letters),
        "transfer": lambda: _transfer(data / "transfer/curve.csv"),
        "seed-spread": lambda: _seed_spread(root / "docs/seeds.md"),
        "near-duplicates": lambda: _near_duplicates(data / "overview"),
        "data-splits": lambda: _splits(root / "params.yaml"),
    }
    for name in ImagesConfig.list_names(read_params(root / "dvc.yaml")):
        if (root / f"docs/cards/{name}.md").exists():
            written[f"{name}-results"] = partial(_new_results, data / name)
    return written


def _splits_of(images: str) -> dict[str, str]:
    return {"_validation": f"validation {images}", "": f"test {images}"}


def _new_results(folder: Path) -> str:
    if not (folder / "metrics.json").exists():
        return "`make cards` writes them here after `dvc repro`."
    return _results(folder, _splits_of("images"))


def _results(folder: Path, splits: dict[str, str]) -> str:
    values = json.loads((folder / "metrics.json").read_text("utf-8"))
    rows = []
    for suffix, name in splits.items():
        images = _rows(folder / f"predictions{suffix}.csv")
        n_images = f"{sum(row['actual'] != 'none' for row in images):,}"  # those of the accuracy
        keys = [f"accuracy{suffix}{bound}" for bound in ("", "_low", "_high")]
        accuracy, low, high = (_percent(values[key]) for key in keys)
        others = (f"{values[f'{key}{suffix}']:.4f}" for key in ("loss", "calibration_error"))
        none = _percent(values.get(f"none_sure{suffix}", ""))
        rows.append((name, n_images, accuracy, f"{low} to {high}", *others, none))
    header = ("images", "number", "accuracy", "95 % interval", "loss, nats")
    return markdown.table((*header, "calibration error", "none, but sure"), rows)


def _mistakes(predictions: Path) -> str:
    """Lists the most frequent mistakes. Equally frequent ones are in alphabetical order."""
    counts = Counter((r["actual"], r["predicted"]) for r in _wrong(predictions))
    ranked = sorted(counts, key=lambda pair: (-counts[pair], pair))
    rows = [(*pair, str(counts[pair])) for pair in ranked[:MOST_MISTAKES]]
    rest = sum(counts[pair] for pair in ranked[MOST_MISTAKES:])
    return markdown.table(("actual", "predicted", "times"), [*rows, ("all others", "", str(rest))])


def _groups(data: Path, field: str) -> str:
    """Lists the groups of the unseen letters, the one with the lowest accuracy first."""
    listed = _rows(data / f"mistakes/accuracy_by_{field}.csv")
    ranked = sorted(listed, key=lambda row: float(row["accuracy"]))
    rows = [
        (row[field], row["n_letters"], _percent(row["accuracy"]))
        for row in ranked
        if row["split"] == "unseen"
    ]
    return markdown.table((field, "letters", "accuracy"), rows)


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
    names = {"accuracy": "right", "sure": "sure", "accuracy_when_sure": "right if sure"}
    columns = {f"{p}_{key}": f"{p}, {names[key]}" for p in ("digits", "letters") for key in names}
    rows = [(row["condition"], *(_percent(row[c]) for c in columns)) for row in _rows(path)]
    return markdown.table(("pictures", *columns.values()), rows)


def _seed_spread(page: Path) -> str:
    """Returns the accuracies of `make seeds`: mean and standard deviation over the seeds."""
    rows = [line.strip("| ").split(" | ") for line in page.read_text("utf-8").splitlines()]
    values = {row[0]: f"{row[1].removesuffix(' %')} ± {row[2]} %" for row in rows if len(row) == 4}
    return f"digits {values['digits, test']}, unseen letters {values['letters, unseen typefaces']}"


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


def _percent(share: float | str) -> str:
    return f"{float(share):.2%}".replace("%", " %") if share != "" else "-"


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
