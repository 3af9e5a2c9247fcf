"""Prints the experiments of all commits in 80 columns: newest commit first, best accuracy first."""

import functools
import re
import textwrap
from collections import defaultdict
from typing import Any

from ruamel.yaml import YAML

from tools.repository import git, read_values

LETTERS, DIGITS = "data/ascii_letter/metrics.json", "data/mnist/metrics.json"
COLUMNS = {
    "letters": (LETTERS, "accuracy_validation", "{:.2%}"),
    "text": (LETTERS, "accuracy_validation_text", "{:.2%}"),
    "loss": (LETTERS, "loss_validation", "{:.4f}"),
    "digits": (DIGITS, "accuracy_validation", "{:.2%}"),
}
"""Headings; the file, the key and the format of the metric below. None is of a test split, so that
nobody chooses by it.
"""


def read(commit: str) -> tuple[dict[str, Any], list[str], float]:
    """Returns the params of a commit or experiment, its cells, and the accuracy to sort by."""
    values = {f: read_values(commit, f) if is_current(commit, f) else {} for f in (LETTERS, DIGITS)}
    metrics = [(style, values[file].get(key)) for file, key, style in COLUMNS.values()]
    cells = ["" if value is None else style.format(value) for style, value in metrics]
    if not any(cells):
        cells = ["not evaluated"]
    return read_values(commit, "params.yaml"), cells, metrics[0][1] or 0


@functools.cache
def is_current(commit: str, path: str) -> bool:
    """Returns whether an output was made of the other outputs in the same dvc.lock.

    After `dvc exp run train_mnist`, the metrics are still those of the commit it started from.
    """
    stages = read_lock(commit).values()
    made = {out["path"]: (out.get("md5"), stage) for stage in stages for out in stage["outs"]}
    _, stage = made.get(path, ("", {}))
    deps = [(dep["path"], dep.get("md5")) for dep in stage.get("deps", []) if dep["path"] in made]
    return all(made[name][0] == md5 and is_current(commit, name) for name, md5 in deps)


@functools.cache
def read_lock(commit: str) -> dict[str, Any]:
    """Returns the stages with outputs in the dvc.lock of a commit, none if it has no such file."""
    if not git("ls-tree", commit, "dvc.lock"):
        return {}
    lock = YAML(typ="safe").load(git("show", f"{commit}:dvc.lock"))
    return {name: stage for name, stage in lock["stages"].items() if "outs" in stage}


def line(name: str, cells: list[str], changed: str = "") -> str:
    """Lays out a row. A long name has its own line, and long changes have several."""
    numbers = "".join(f"{cell:>8}" for cell in cells)
    start = f"{name}\n{'':20}" if len(name) > 20 else f"{name:20}"
    first, *more = textwrap.wrap(changed, 26) or [""]
    return "\n".join([f"{start}{numbers:32}  {first}".rstrip(), *(f"{'':54}{one}" for one in more)])


def main() -> None:
    # Unlike `dvc exp show --all-commits`, this finds the experiments of amended commits too.
    listed = git("for-each-ref", "--format=%(refname)", "refs/exps")
    experiments: defaultdict[str, list[str]] = defaultdict(list)
    for first, rest, name in re.findall(r"^refs/exps/(\w\w)/(\w{38})/(.+)$", listed, re.MULTILINE):
        experiments[first + rest].append(name)
    print(line("commit, experiment", [*COLUMNS], "changed params"))
    for commit in git("rev-list", "--no-walk=sorted", "HEAD", *experiments).split():
        before, cells, _ = read(commit)
        print(
            line(textwrap.shorten(git("show", "--no-patch", "--format=%h %s", commit), 20), cells)
        )
        refs = {name: f"refs/exps/{commit[:2]}/{commit[2:]}/{name}" for name in experiments[commit]}
        rows = [(name, *read(ref)) for name, ref in refs.items()]
        for name, params, cells, _ in sorted(rows, key=lambda row: -row[3]):
            changed = [
                f"{key}={value}" for key, value in params.items() if before.get(key) != value
            ]
            print(line(f"  {name}", cells, ", ".join(changed)))
    if not experiments:
        print("\nNo experiments yet. Try `dvc exp run -S learning_rate=0.01`")
