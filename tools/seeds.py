"""Trains with several seeds: a better recipe is better than luck with one seed.

python -m tools seeds 5         the results of HEAD, also in docs/seeds.md
python -m tools seeds 5 main    the differences between main and HEAD, paired by seed
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

from annotated_types import Ge
from dvc.utils.flatten import flatten

from letterpress.jobs.processes import n_cores
from letterpress.transfer.curve import mean_interval
from tools import markdown
from tools.repository import find_commit, find_head, read_values, run_experiment

NAMES = {
    "digits, validation": ("mnist", "accuracy_validation"),
    "letters, validation": ("ascii_letter", "accuracy_validation"),
    "digits, test": ("mnist", "accuracy"),
    "letters, test": ("ascii_letter", "accuracy"),
    "letters, unseen typefaces": ("ascii_letter", "accuracy_unseen"),
    "letters, unseen text typefaces": ("ascii_letter", "accuracy_unseen_text"),
    "letters, unseen handwriting": ("ascii_letter", "accuracy_unseen_handwriting"),
    **{
        f"transfer gain, labels per class: {n}": ("transfer", f"labels_{n}.transfer_gain")
        for n in (1, 5, 20, 80)
    },
}
"""The results, and the folder and key of each. Keys that a recipe lacks are left out."""
STAGES = "evaluate", "transfer_curve"  # which measure them
PAGE = Path("docs/seeds.md")

Results = dict[str, list[float]]  # by name; of each training, in percent or points


def train(commit: str, seeds: Sequence[int]) -> Results:
    """Trains with each seed, several at once. What was trained before is only read."""

    def train_once(seed: int) -> str:
        return run_experiment(commit, f"seed-{seed}", STAGES, {"seed": seed})

    with ThreadPoolExecutor(max(1, n_cores() // 6)) as pool:  # transfer_curve can use six cores
        experiments = list(pool.map(train_once, seeds))
    found = {}
    for name, (folder, key) in NAMES.items():
        file = f"data/{folder}/metrics.json"
        metrics = [flatten(read_values(one, file)) for one in experiments]
        if key in metrics[0]:
            found[name] = [100 * values[key] for values in metrics]
    return found


def summary(head: Results) -> str:
    """Returns the mean, the standard deviation and the interval of the mean as a table."""
    rows = []
    for name, values in head.items():
        _, low, high = mean_interval(values)
        unit = "points" if "gain" in name else "%"
        interval = f"{low:.2f} to {high:.2f} {unit}"
        rows.append((name, f"{mean(values):.2f} {unit}", f"{stdev(values):.2f}", interval))
    header = ("result", "mean", "standard deviation", "95 % interval of the mean")
    return markdown.table(header, rows)


def comparison(base: Results, head: Results) -> str:
    """Returns the means, in percent or points, and their difference by seed (Student's t)."""
    rows = []
    for name in [name for name in base if name in head]:
        pairs = zip(base[name], head[name], strict=True)
        change, low, high = mean_interval([after - before for before, after in pairs])
        verdict = "**better**" if low > 0 else "**worse**" if high < 0 else "within seed noise"
        unit = "points" if "gain" in name else "%"
        means = [f"{mean(side[name]):.2f} {unit}" for side in (base, head)]
        rows.append((name, *means, f"{change:+.2f}", f"{low:+.2f} to {high:+.2f}", verdict))
    header = ("result", "base", "head", "difference", "95 % interval", "verdict")
    return markdown.table(header, rows)


def main(n_seeds: Annotated[int, Ge(2)], base: str | None = None) -> None:
    commits = [find_commit(base), find_head()] if base else [find_head()]
    # Ten apart, because transfer_curve adds 0, 1 and so on.
    seeds = [10 * number for number in range(1, n_seeds + 1)]
    sides = [train(commit, seeds) for commit in commits]
    if base:
        print(f"\nTwo recipes, {base} and HEAD, {n_seeds} seeds each:\n\n{comparison(*sides)}")
        return
    text = f"Trained with seeds {', '.join(map(str, seeds))}:\n\n{summary(*sides)}"
    print(f"\n{text}")
    PAGE.write_text(markdown.rewrite(PAGE.read_text("utf-8"), {"seeds": lambda: text}), "utf-8")
