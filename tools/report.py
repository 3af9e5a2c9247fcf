"""What a change does to the results, as Markdown, from two commits and nothing but git.

    python -m tools.report --base main --head HEAD --out report.md

Whether a classifier really got better is decided by an exact McNemar test on the same test images
(McNemar 1947; the exact form is a binomial test on the images that only one of the two gets right),
or, where the images themselves changed, by Fisher's exact test, which needs larger differences.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any

from tools.revision import ReportError, Revision, Rows, read_revision

SIGNIFICANT = 0.05
LARGEST = 65_000
"""Bytes; a comment on GitHub can hold 65,536 characters, and report-comment.yml adds a line."""
MOST_ROWS = 50
"""Rows of a table."""
MOST_CONFUSIONS = 10
"""Rows of the confusions of one file of predictions."""
MOST_NAMES = 8
"""Files in a cell."""
LONGEST = 120
"""Characters of a value from params.yaml or of a name."""
COLORS = {"grey": "#888888", "blue": "#0969da"}


def report(base: Revision, head: Revision) -> str:
    """Writes the report, Markdown of less than LARGEST bytes. The same commits give the same bytes.

    Everything that a change can name stands in code spans: it is shown, not interpreted.
    """
    sections = [
        "\n".join(lines)
        for lines in (
            [f"# Results of `{head.commit[:10]}` against `{base.commit[:10]}`"],
            _verdicts(base, head),
            _metrics(base, head),
            _params(base, head),
            _stages(base, head),
            _confusions(base, head),
            _curves(base, head),
        )
    ]
    text, note = "\n".join(sections) + "\n", ""
    while len((text + note).encode()) >= LARGEST:
        sections.pop()
        text = "\n".join(sections) + "\n"
        note = "\n*The last sections were left out: a comment cannot be longer.*\n"
    return text + note


# scipy is imported where it is used: it takes a second, and what cannot be compared is told at once.


def _verdicts(base: Revision, head: Revision) -> Iterator[str]:
    rows = []
    for path in sorted(base.predictions.keys() | head.predictions.keys()):
        before, after = base.predictions.get(path), head.predictions.get(path)
        if before is None or after is None:
            which = "new" if before is None else "removed"
            shares = (_share(side) if side else "" for side in (before, after))
            rows.append(_row(_title(path), *shares, "", f"{which}, nothing to compare with"))
            continue
        verdict = (_paired if _same_images(base, head, path) else _unpaired)(before, after)
        change = (_n_right(after) / len(after) - _n_right(before) / len(before)) * 100
        accuracies = _share(before), _share(after)
        rows.append(_row(_title(path), *accuracies, f"{change:+.2f}", verdict))
    columns = "predictions", "before", "after", "change", "verdict"
    yield from _table("Is it really better?", rows, *columns)
    yield "\nAccuracies in %, with 95 % intervals (Wilson)."


def _same_images(base: Revision, head: Revision, path: str) -> bool:
    """Whether both sides classified the same records: their names alone do not say it."""
    before, after = (
        {name: row["actual"] for name, row in side.predictions[path].items()}
        for side in (base, head)
    )
    pipeline, split = _parts(path)
    records = f"data/{pipeline}/tfrecords/{split}"
    hashes = {side.file_hash(records) for side in (base, head)}
    return before == after and len(hashes) == 1 and None not in hashes


def _paired(before: Rows, after: Rows) -> str:
    lost = sum(_right(before[name]) and not _right(after[name]) for name in before)
    won = sum(_right(after[name]) and not _right(before[name]) for name in before)
    from scipy.stats import binomtest

    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    return f"{_word(p, won > lost)} ({won} won, {lost} lost, p = {p:.3g}, paired)"


def _unpaired(before: Rows, after: Rows) -> str:
    from scipy.stats import fisher_exact

    right = _n_right(before), _n_right(after)
    table = [[right[0], len(before) - right[0]], [right[1], len(after) - right[1]]]
    p = float(fisher_exact(table).pvalue)
    better = right[1] / len(after) > right[0] / len(before)
    return f"{_word(p, better)} (p = {p:.3g}, unpaired: the test images are not the same)"


def _word(p: float, better: bool) -> str:
    if p >= SIGNIFICANT:
        return "no evidence of a difference"
    return "**better**" if better else "**worse**"


def _params(base: Revision, head: Revision) -> Iterator[str]:
    changed = [
        _row(_code(key), *(_code(side.params.get(key, "none")) for side in (base, head)))
        for key in sorted(base.params.keys() | head.params.keys())
        if base.params.get(key) != head.params.get(key)
    ]
    return _table("Params", changed, "key", "before", "after")


def _stages(base: Revision, head: Revision) -> Iterator[str]:
    rows = []
    for stage in sorted(base.stages.keys() | head.stages.keys()):
        before, after = base.stages.get(stage), head.stages.get(stage)
        if before is None or after is None:
            rows.append(_row(_code(stage), "new" if before is None else "removed", ""))
            continue
        reads, makes = (
            sorted(_changed(before.get(kind, []), after.get(kind, []))) for kind in ("deps", "outs")
        )
        reads += ["params.yaml"] * (before.get("params") != after.get("params"))
        reads += ["its command"] * (before["cmd"] != after["cmd"])
        if reads or makes:
            rows.append(_row(_code(stage), _list(reads), _list(makes)))
    return _table("Stages", rows, "stage", "what it reads changed", "what it makes changed")


def _changed(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> set[str]:
    pairs = [{(file["path"], file["md5"]) for file in side} for side in (before, after)]
    return {path for path, _ in pairs[0] ^ pairs[1]}


def _metrics(base: Revision, head: Revision) -> Iterator[str]:
    rows = []
    for path, key in sorted(base.metrics.keys() | head.metrics.keys()):
        before, after = base.metrics.get((path, key)), head.metrics.get((path, key))
        if before == after:
            continue
        if before is None or after is None:
            change = "new" if before is None else "removed"
        else:
            change = f"{after - before:+.6f}"
        values = ("" if value is None else f"{value:g}" for value in (before, after))
        rows.append(_row(_code(path), _code(key), *values, change))
    return _table("Metrics", rows, "file", "metric", "before", "after", "change")


def _curves(base: Revision, head: Revision) -> Iterator[str]:
    yield "\n## Training loss"
    names = sorted(base.curves.keys() | head.curves.keys())
    changed = [name for name in names if base.curves.get(name) != head.curves.get(name)]
    if not changed:
        yield "\nNo change."
    for name in changed:
        sides = [("grey", "before", base), ("blue", "after", head)]
        drawn = [
            (color, when, curve) for color, when, side in sides if (curve := side.curves.get(name))
        ]
        legend = ", ".join(f"{when} in {color}" for color, when, _ in drawn)
        yield f"\n{_code(name)}: {legend}"
        if not all(isfinite(loss) for _, _, curve in drawn for loss in curve):
            yield "\nThe loss is not finite."
            continue
        lengths = {len(curve) for _, _, curve in drawn}
        # Mermaid spreads each line over the whole axis.
        axis = f'"epoch" 1 --> {max(lengths)}' if len(lengths) == 1 else '"% of training" 0 --> 100'
        palette = ", ".join(COLORS[color] for color, _, _ in drawn)
        theme = {"themeVariables": {"xyChart": {"plotColorPalette": palette}}}
        yield f"\n```mermaid\n%%{{init: {json.dumps(theme)}}}%%\nxychart-beta"
        yield f'  x-axis {axis}\n  y-axis "loss"'
        yield from (f"  line [{', '.join(f'{loss:.4g}' for loss in c)}]" for _, _, c in drawn)
        yield "```"


def _confusions(base: Revision, head: Revision) -> Iterator[str]:
    rows = []
    for path in sorted(base.predictions.keys() & head.predictions.keys()):
        before, after = (_confused(side.predictions[path]) for side in (base, head))
        moved = sorted(
            (-abs(after[pair] - before[pair]), pair)
            for pair in before.keys() | after.keys()
            if after[pair] != before[pair]
        )
        rows += [
            _row(_title(path), *map(_code, pair), str(before[pair]), str(after[pair]))
            for _, pair in moved[:MOST_CONFUSIONS]
        ]
    columns = "predictions", "actual", "predicted", "before", "after"
    return _table("Confusions that moved most", rows, *columns)


def _confused(rows: Rows) -> Counter[tuple[str, str]]:
    return Counter((r["actual"], r["predicted"]) for r in rows.values() if not _right(r))


def _right(row: dict[str, str]) -> bool:
    return row["actual"] == row["predicted"]


def _n_right(rows: Rows) -> int:
    return sum(map(_right, rows.values()))


def _share(rows: Rows) -> str:
    from scipy.stats import binomtest

    interval = binomtest(_n_right(rows), len(rows)).proportion_ci(method="wilson")
    share = _n_right(rows) / len(rows)
    return f"{share * 100:.2f} ({interval.low * 100:.2f} to {interval.high * 100:.2f})"


def _parts(path: str) -> tuple[str, str]:
    """The pipeline and the split of "data/mnist/predictions_unseen.csv"."""
    file = PurePosixPath(path)
    return file.parent.name, file.stem.removeprefix("predictions").strip("_") or "test"


def _title(path: str) -> str:
    return _code(", ".join(_parts(path)))


def _table(title: str, rows: list[str], *columns: str) -> Iterator[str]:
    yield f"\n## {title}\n"
    if not rows:
        yield "No change."
        return
    yield _row(*columns)
    yield "|" + "---|" * len(columns)
    yield from rows[:MOST_ROWS]
    if len(rows) > MOST_ROWS:
        yield f"\nAnd {len(rows) - MOST_ROWS} more."


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _code(value: Any) -> str:
    text = " ".join(str(value).split()) or " "
    if len(text) > LONGEST:
        text = text[:LONGEST] + "..."
    # No backtick may end the code, and no pipe the cell.
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def _list(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(map(_code, names[:MOST_NAMES])) + more or "no"


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes what a change does to the results.")
    parser.add_argument("--base", required=True, help="the commit to compare with")
    parser.add_argument("--head", default="HEAD", help="the commit to report on (default: HEAD)")
    parser.add_argument("--out", type=Path, help="a file; default: standard output")
    arguments = parser.parse_args()
    try:
        text = report(read_revision(arguments.base), read_revision(arguments.head))
    except ReportError as error:
        sys.exit(f"error: {error}")
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.buffer.write(text.encode("utf-8"))


if __name__ == "__main__":
    main()
