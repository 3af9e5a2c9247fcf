"""Prints the experiments of all commits in 80 columns: newest commit first, best accuracy first."""

import functools
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml import YAML

from tools.metrics import flatten

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

Row = Mapping[str, Any]


def table(commits: list[Row]) -> Iterator[str]:
    """Yields the lines of the table for what `dvc exp show --json` prints."""
    yield _line("commit, experiment", list(COLUMNS), "changed params")
    for commit in sorted(commits, key=lambda row: str(_data(row).get("timestamp")), reverse=True):
        yield _line(f"{commit['rev'][:7]} {commit['name'] or ''}", _cells(commit), "")
        before = _params(commit)
        tips = [{**one, **one["revs"][0]} for one in commit["experiments"] or []]  # the newest
        for tip in sorted(tips, key=lambda tip: _metrics(tip)[0] or 0, reverse=True):
            changed = [f"{k}={v}" for k, v in _params(tip).items() if before.get(k) != v]
            first, *more = textwrap.wrap(", ".join(changed), 26) or [""]
            yield _line(f"  {tip['name'] or tip['rev'][:7]}", _cells(tip), first)
            for line in more:
                yield _line("", [], line)


def _line(name: str, cells: list[str], changed: str) -> str:
    numbers = "".join(f"{cell:>8}" for cell in cells)
    if len(name) > 20 and numbers:
        return f"{name}\n{_line('', cells, changed)}"
    return f"{name:20}{numbers:32}  {changed}".rstrip()


def _data(row: Row) -> dict[str, Any]:
    return row["data"] or {}  # DVC could not read the commit


def _metrics(row: Row) -> list[float | None]:
    files = _data(row).get("metrics", {}) if _state(row) == "success" else {}
    current = {file: files[file].get("data", {}) for file in files if _is_current(row["rev"], file)}
    return [current.get(file, {}).get(key) for file, key, _ in COLUMNS.values()]


def _state(row: Row) -> str:
    return (row.get("executor") or {}).get("state") or ("success" if _data(row) else "failed")


@functools.cache
def _is_current(rev: str, path: str) -> bool:
    """Tells whether an output was made of the other outputs in the same dvc.lock.

    After `dvc exp run train_mnist`, the metrics are still those of the commit it started from.
    """
    stages = _read_lock(rev).values()
    made = {out["path"]: (out.get("md5"), s) for s in stages for out in s.get("outs", [])}
    _, stage = made.get(path, ("", {}))
    deps = [(dep["path"], dep.get("md5")) for dep in stage.get("deps", []) if dep["path"] in made]
    return all(made[name][0] == md5 and _is_current(rev, name) for name, md5 in deps)


@functools.cache
def _read_lock(rev: str) -> dict[str, Any]:
    """Returns the stages in the dvc.lock of a commit, none if it has no such file."""
    command = ["git", "show", f"{rev}:dvc.lock"]
    shown = subprocess.run(command, capture_output=True, check=False).stdout
    return dict((YAML(typ="safe").load(shown) or {}).get("stages", {}))


def _cells(row: Row) -> list[str]:
    """Formats the metrics of a commit or an experiment, or its state if it has none."""
    cells = [
        "" if value is None else style.format(value)
        for value, (_, _, style) in zip(_metrics(row), COLUMNS.values(), strict=True)
    ]
    state = _state(row)
    return cells if any(cells) else ["not evaluated" if state == "success" else state]


def _params(row: Row) -> dict[str, Any]:
    params = _data(row).get("params", {}).get("params.yaml", {})
    return dict(flatten(params.get("data", {})))


def read_experiments() -> list[Row]:
    """Returns what `dvc exp show` reports on HEAD and on every commit that has experiments.

    `dvc exp show --all-commits` is slow, and lacks the experiments of commits that were amended.
    """
    refs = ["git", "for-each-ref", "--format=%(refname)", "refs/exps"]
    listed = subprocess.run(refs, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^refs/exps/(\w\w)/(\w{38})/", listed, re.MULTILINE)
    command = ["dvc", "exp", "show", "--json", "--hide-workspace", "--rev", "HEAD"]
    for first, rest in dict.fromkeys(found):
        command += ["--rev", first + rest]
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if shown.returncode:
        sys.exit(shown.returncode)
    return list(json.loads(shown.stdout))


def main() -> None:
    rows = read_experiments()
    print("\n".join(table(rows)))
    if not any(row["experiments"] for row in rows):
        print("\nNo experiments yet. Try `dvc exp run -S learning_rate=0.01`")


if __name__ == "__main__":
    main()
