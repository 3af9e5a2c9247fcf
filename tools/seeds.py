"""Trains with several seeds: a better recipe is better than luck with one seed.

python -m tools.seeds 5                the accuracies of HEAD, also in docs/seeds.md
python -m tools.seeds 5 --base main    the differences between main and HEAD, paired by seed

Each training is a DVC experiment, seed-1 and so on, in a clone that shares this repository's cache.
Experiments stay, so no commit is trained twice with a seed; `make experiments` lists them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean, stdev

from letterpress.core.errors import PipelineError
from letterpress.transfer.curve import mean_interval
from tools import markdown
from tools.report.revision import git
from tools.verify import clone

NAMES = {
    "digits, validation": ("mnist", "accuracy_validation"),
    "letters, validation": ("ascii_letter", "accuracy_validation"),
    "digits, test": ("mnist", "accuracy"),
    "letters, test": ("ascii_letter", "accuracy"),
    "letters, unseen typefaces": ("ascii_letter", "accuracy_unseen"),
}
"""The accuracies, and the folder and key of each. An accuracy that a recipe lacks is left out."""
PAGE = Path("docs/seeds.md")

Accuracies = dict[str, float]  # of one training, 0..1, by name


def run_experiment(commit: str, name: str, choose: Callable[[], Mapping[str, object]]) -> str:
    """Runs the stage evaluate and all that it needs with the params that `choose` returns.

    An experiment of that name and commit is not run again.

    Returns:
        The experiment's git reference.
    """
    experiment = f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"
    if not git("for-each-ref", experiment):
        changes = [f"--set-param={key}={value}" for key, value in choose().items()]
        with tempfile.TemporaryDirectory(prefix=f"letterpress-{name}-") as folder:
            clone(folder, commit)
            for command in (
                ["dvc", "exp", "run", "--name", name, *changes, "evaluate"],
                ["dvc", "exp", "push", "--quiet", "--no-cache", "origin", name],
            ):
                subprocess.run(command, cwd=folder, check=True)
    return experiment


def train(commit: str, seed: int) -> Accuracies:
    """Trains with another seed, or reads the results if that was done before."""
    experiment = run_experiment(commit, f"seed-{seed}", lambda: {"seed": seed})
    metrics = {
        pipeline: json.loads(git("show", f"{experiment}:data/{pipeline}/metrics.json"))
        for pipeline, _ in NAMES.values()
    }
    return {name: metrics[p][key] for name, (p, key) in NAMES.items() if key in metrics[p]}


def summary(trainings: Sequence[Accuracies]) -> str:
    """Returns the mean, the standard deviation and the interval of the mean as a table."""
    rows = []
    for name in trainings[0]:
        values = [100 * training[name] for training in trainings]
        _, low, high = mean_interval(values)
        spread = f"{stdev(values):.2f}"
        rows.append((name, f"{mean(values):.2f} %", spread, f"{low:.2f} to {high:.2f} %"))
    header = ("accuracy", "mean", "standard deviation", "95 % interval of the mean")
    return markdown.table(header, rows)


def comparison(base: Sequence[Accuracies], head: Sequence[Accuracies]) -> str:
    """Returns the mean difference by seed, in points, and its interval (Student's t) as a table."""
    rows = []
    for name in [name for name in base[0] if name in head[0]]:
        before, after = ([100 * training[name] for training in side] for side in (base, head))
        change, low, high = mean_interval([b - a for a, b in zip(before, after, strict=True)])
        verdict = "**better**" if low > 0 else "**worse**" if high < 0 else "within seed noise"
        means = f"{mean(before):.2f} %", f"{mean(after):.2f} %"
        rows.append((name, *means, f"{change:+.2f}", f"{low:+.2f} to {high:+.2f}", verdict))
    header = ("accuracy", "base", "head", "difference", "95 % interval", "verdict")
    return markdown.table(header, rows)


def compare(n_seeds: int, names: Sequence[str]) -> str:
    """Trains one commit or two with each seed, and returns the table of the results."""
    if n_seeds < 2:
        raise PipelineError(f"seeds: at least 2 (got {n_seeds}). Try make seeds N=5")
    if git("status", "--porcelain", "--untracked-files=no"):
        raise PipelineError("workspace: uncommitted changes. Commit them")
    commits = [
        git("rev-parse", "--verify", f"{name}^{{commit}}").decode().strip() for name in names
    ]
    n_jobs = max(1, (os.cpu_count() or 1) // 2)  # a training keeps two cores busy
    with ThreadPoolExecutor(n_jobs) as pool:
        sides = [
            list(pool.map(partial(train, commit), range(1, n_seeds + 1))) for commit in commits
        ]
    return summary(*sides) if len(sides) == 1 else comparison(*sides)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains with several seeds.")
    parser.add_argument("n_seeds", type=int, help="the number of seeds, at least 2")
    parser.add_argument("--base", help="the commit to compare HEAD with")
    arguments = parser.parse_args()
    try:
        names = [name for name in (arguments.base, "HEAD") if name]
        table = compare(arguments.n_seeds, names)
    except (PipelineError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
    what = f"Trained with seeds 1 to {arguments.n_seeds}:"
    if arguments.base:
        what = f"Two recipes, {' and '.join(names)}, each trained with the same {arguments.n_seeds} seeds:"
    print(f"\n{what}\n\n{table}")
    if not arguments.base:
        page = markdown.rewrite(PAGE.read_text("utf-8"), {"seeds": lambda: f"{what}\n\n{table}"})
        PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
