"""Prints the experiments of all commits in 80 columns: newest commit first, best accuracy first."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from dvc.utils.flatten import flatten

from tools.repository import git, read_values

LETTERS, DIGITS = "data/ascii_letter/metrics.json", "data/mnist/metrics.json"
COLUMNS = {
    "letters": (LETTERS, "accuracy_validation", "{:.2%}"),
    "text": (LETTERS, "accuracy_validation_text", "{:.2%}"),
    "loss": (LETTERS, "loss_validation", "{:.4f}"),
    "digits": (DIGITS, "accuracy_validation", "{:.2%}"),
}
"""Headings; file, key and format of each metric. None is of a test split, to choose by."""


def read(commit: str) -> tuple[dict[str, Any], list[str], float]:
    """Returns the params of a commit or experiment, its cells, and the accuracy to sort by."""
    lock = read_values(commit, "dvc.lock")
    values = {f: read_values(commit, f) if is_current(f, lock) else {} for f in (LETTERS, DIGITS)}
    metrics = [(style, values[file].get(key)) for file, key, style in COLUMNS.values()]
    cells = ["" if value is None else style.format(value) for style, value in metrics]
    params = flatten(read_values(commit, "params.yaml"))
    return params, cells if any(cells) else ["not evaluated"], metrics[0][1] or 0


def is_current(path: str, lock: Mapping[str, Any]) -> bool:
    """Returns whether an output was made of the other outputs in the same dvc.lock.

    After `dvc exp run train_mnist`, the metrics are still those of the commit it started from.
    """
    stages = [stage for stage in lock.get("stages", {}).values() if "outs" in stage]
    made = {out["path"]: (out.get("md5"), stage) for stage in stages for out in stage["outs"]}
    _, stage = made.get(path, ("", {}))
    deps = [(dep["path"], dep.get("md5")) for dep in stage.get("deps", []) if dep["path"] in made]
    return all(made[name][0] == md5 and is_current(name, lock) for name, md5 in deps)


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
        title = git("show", "--no-patch", "--format=%h %s", commit)
        print(line(textwrap.shorten(title, 20), cells))
        ref = f"refs/exps/{commit[:2]}/{commit[2:]}"
        rows = [(name, *read(f"{ref}/{name}")) for name in experiments[commit]]
        for name, params, cells, _ in sorted(rows, key=lambda row: -row[3]):
            changed = [f"{k}={v}" for k, v in params.items() if before.get(k) != v]
            print(line(f"  {name}", cells, ", ".join(changed)))
    if not experiments:
        print("\nNo experiments yet. Try `dvc exp run -S learning_rate=0.01`")
