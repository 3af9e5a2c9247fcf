"""Writes what a change does to the results as Markdown, from two commits and nothing but git.

Mistakes in one typeface family are correlated, so the test flips the signs of whole families.
Holm's correction keeps the chance of any false verdict in a report below 5 %.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from letterpress.evaluation.intervals import holm, sign_flip_test
from tools import markdown
from tools.repository import find_commit, git, is_edited
from tools.revision import Revision, Rows, changes, read_revision

CHECKS = (".ci", ".github", "Makefile", "tools")
"""What decides whether a change passes. A change of it must be read, not believed."""
COMPARED = """This compares two committed weight files on the same images. It does not compare two
recipes: another training seed gives other weights. `make compare` trains both recipes."""
EXPLAINED = """Accuracies with 95 % intervals. p: exact sign-flip test of the images won minus
the images lost by each typeface family (by each image, without families); corrected for the number
of verdicts (Holm)."""
SIGNIFICANT = 0.05
LARGEST = 64_900  # bytes; with CUT, what report-comment.yml posts: 65,000
CUT = "\n\n*The rest was left out: a comment cannot be longer.*\n"
MOST_ROWS = 50  # of a table
LONGEST = 120  # characters of a value from params.yaml or of a name


def main(base: str, head: str, out: Path) -> None:
    before, after = read_revision(base), read_revision(head)
    notes = find_notes(before, after)
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    out.write_text(report(before, after, notes), encoding="utf-8")


def find_notes(base: Revision, head: Revision) -> list[str]:
    """Returns what a reader must know before the numbers, one line each."""
    notes = []
    if find_commit("HEAD") == head.commit and is_edited():
        notes.append("the workspace has uncommitted changes. Commit to include them in the report")
    if base.commit == head.commit:
        notes.append(f"base and head are the same commit {base.commit[:10]}: nothing can differ")
    if edited := git("diff", "--name-only", base.commit, head.commit, "--", *CHECKS):
        paths = sorted({path.strip('"').partition("/")[0] for path in edited.splitlines()})
        notes.append(f"the commits differ in what checks them: read {', '.join(paths)}")
    return notes


def report(base: Revision, head: Revision, notes: Iterable[str] = ()) -> str:
    """Returns the report, 65,000 bytes at most. The same commits give the same bytes.

    Everything that a change can name is in code spans, where Markdown does not interpret it.
    """
    before, after = (one.commit[:10] for one in (base, head))
    parts = [f"> **{note}**" for note in notes]
    parts += [
        f"# Results of `{after}` against `{before}`",
        f"`dvc plots diff {before} {after}` draws the training curves and the confusion matrices.",
        f"## Is it really better?\n\n{_verdicts(base, head)}",
        f"## Metrics\n\n{_changed(('file', 'metric'), base.metrics, head.metrics)}",
        f"## Params\n\n{_changed(('key',), base.params, head.params)}",
        f"## Code, data and outputs (MD5)\n\n{_changed(('path',), base.hashes, head.hashes)}",
    ]
    text = "\n\n".join(parts) + "\n"
    if len(text.encode()) > LARGEST:  # whole lines: half a code span would be Markdown
        text = text.encode()[:LARGEST].rpartition(b"\n")[0].decode() + CUT
    return text


def _verdicts(base: Revision, head: Revision) -> str:
    p_values, rows = compare_predictions(base, head), []
    for path in sorted(base.predictions.keys() | head.predictions.keys()):
        accuracies = (_accuracy(side, path) for side in (base, head))
        predictions = base.predictions.get(path), head.predictions.get(path)
        verdict = _verdict(*predictions, p_values.get(path))
        rows.append((_code(", ".join(_parts(path))), *accuracies, verdict))
    table = _table(("predictions", "before", "after", "verdict"), rows)
    return f"{COMPARED}\n\n{table}\n\n{EXPLAINED}"


def compare_predictions(base: Revision, head: Revision) -> dict[str, float]:
    """Returns the corrected p value of each file whose predictions are of the same images."""
    paths = sorted(base.predictions.keys() & head.predictions.keys())
    tested = [path for path in paths if _same_images(base, head, path)]
    p_values = [_test(base.predictions[path], head.predictions[path]) for path in tested]
    return dict(zip(tested, holm(p_values), strict=True))


def _same_images(base: Revision, head: Revision, path: str) -> bool:
    """Returns whether both sides classified the same records. Equal names are not enough."""
    records = "data/{}/tfrecords/{}".format(*_parts(path))
    hashes = [side.hashes.get(records) for side in (base, head)]
    rows = [side.predictions[path].items() for side in (base, head)]
    before, after = ({name: row["actual"] for name, row in items} for items in rows)
    return before == after and hashes[0] == hashes[1] is not None


def _test(before: Rows, after: Rows) -> float:
    """Returns the p value of images won minus images lost, with one cluster per family or image."""
    clusters: Counter[str] = Counter()
    for name, row in before.items():
        clusters[row.get("family") or name] += _right(after[name]) - _right(row)
    return sign_flip_test(list(clusters.values()))


def _verdict(before: Rows | None, after: Rows | None, p: float | None) -> str:
    if before is None or after is None:
        return f"{_change(before, after)}, nothing to compare with"
    if p is None:
        return "not compared: the images are not the same"
    won = sum(_right(after[name]) and not _right(before[name]) for name in before)
    lost = sum(_right(before[name]) and not _right(after[name]) for name in before)
    reason = f"({won} won, {lost} lost, p = {p:.3g})"
    if p >= SIGNIFICANT:
        return f"no evidence of a difference {reason}"
    return f"**{'better' if won > lost else 'worse'}** {reason}"


def _right(row: dict[str, str]) -> bool:
    return row["actual"] == row["predicted"]


def _accuracy(side: Revision, path: str) -> str:
    """Returns the accuracy and its interval, from the metric file beside the predictions."""
    pipeline, split = _parts(path)
    suffix, file = "" if split == "test" else f"_{split}", f"data/{pipeline}/metrics.json"
    keys = [(file, f"accuracy{suffix}{end}") for end in ("", "_low", "_high")]
    value, *ends = [f"{side.metrics[key]:.2%}" for key in keys if key in side.metrics] or [""]
    return f"{value} ({' to '.join(ends)})" if ends else value


def _parts(path: str) -> tuple[str, str]:
    """Returns the pipeline and the split of "data/mnist/predictions_unseen.csv"."""
    file = PurePosixPath(path)
    return file.parent.name, file.stem.removeprefix("predictions").strip("_") or "test"


def _changed(names: tuple[str, ...], before: Mapping[Any, Any], after: Mapping[Any, Any]) -> str:
    """Lists the values that differ, by their keys: one column per name."""
    rows = []
    for key, *values in changes(before, after):
        keys = key if isinstance(key, tuple) else (key,)
        cells = ("" if value is None else _code(value) for value in values)
        rows.append((*map(_code, keys), *cells, _change(*values)))
    return _table((*names, "before", "after", "change"), rows)


def _change(before: Any, after: Any) -> str:
    if before is None or after is None:
        return "new" if before is None else "removed"
    return f"{after - before:+.6g}" if {type(before), type(after)} <= {int, float} else ""


def _table(header: Iterable[str], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return "No change."
    more = f"\n\nAnd {len(rows) - MOST_ROWS} more." if len(rows) > MOST_ROWS else ""
    return markdown.table(header, rows[:MOST_ROWS]) + more


def _code(value: Any) -> str:
    written = f"{value:.10g}" if isinstance(value, float) else str(value)  # 1 - 0.18 is 0.82
    text = " ".join(written.split()) or " "
    if len(text) > LONGEST:
        text = text[:LONGEST] + "..."
    # No backtick may end the code, and no pipe the cell.
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"
