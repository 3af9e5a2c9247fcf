"""The sections of the report, as Markdown.

The verdicts compare two committed weight files on the same images. Mistakes in one typeface family
are correlated, so the test flips the signs of whole families (see `sign_flip_test`); images without
a family, the digits, are independent. Holm's correction keeps the chance of any false verdict in a
report below 5 %.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import PurePosixPath
from typing import Any

from letterpress.evaluation.intervals import holm, sign_flip_test
from tools import markdown
from tools.report.revision import Revision, Rows, changes

COMPARED = """This compares two committed weight files on the same images. It does not compare two
recipes: another training seed gives other weights. `make compare` trains both recipes."""
EXPLAINED = """Accuracies in %, with 95 % intervals. p: exact sign-flip test of the images won minus the
images lost by each typeface family (by each image, without families); corrected for the number of
verdicts (Holm)."""
SIGNIFICANT = 0.05
LARGEST = 65_000  # bytes; a comment on GitHub holds 65,536 characters
MOST_ROWS = 50  # of a table
MOST_CONFUSIONS = 10  # of one file of predictions
LONGEST = 120  # characters of a value from params.yaml or of a name
BEFORE, AFTER = ("before", "grey", "#888888"), ("after", "blue", "#0969da")


def report(base: Revision, head: Revision, notes: Iterable[str] = ()) -> str:
    """Returns the report, less than LARGEST bytes. The same commits give the same bytes.

    Everything that a change can name is in code spans, where Markdown does not interpret it.
    """
    parts = [f"> **{note}**" for note in notes]
    parts.append(f"# Results of `{head.commit[:10]}` against `{base.commit[:10]}`")
    for title, write in SECTIONS.items():
        parts.append(f"## {title}\n\n{write(base, head)}")
    text = "\n\n".join(parts) + "\n"
    while len(text.encode()) >= LARGEST:
        parts.pop()
        note = "*The last sections were left out: a comment cannot be longer.*"
        text = "\n\n".join([*parts, note]) + "\n"
    return text


def _verdicts(base: Revision, head: Revision) -> str:
    p_values, rows = compare_predictions(base, head), []
    for path in sorted(base.predictions.keys() | head.predictions.keys()):
        before, after = (_accuracy(side, path) for side in (base, head))
        change = f"{(after[0] - before[0]) * 100:+.2f}" if before and after else ""
        predictions = base.predictions.get(path), head.predictions.get(path)
        verdict = _verdict(*predictions, p_values.get(path))
        rows.append((_title(path), _share(before), _share(after), change, verdict))
    table = _table(("predictions", "before", "after", "change", "verdict"), rows)
    return f"{COMPARED}\n\n{table}\n\n{EXPLAINED}"


def compare_predictions(base: Revision, head: Revision) -> dict[str, float]:
    """Returns the corrected p value of each file whose predictions are of the same images."""
    paths = sorted(base.predictions.keys() | head.predictions.keys())
    tested = [path for path in paths if _same_images(base, head, path)]
    p_values = [_test(base.predictions[path], head.predictions[path]) for path in tested]
    return dict(zip(tested, holm(p_values), strict=True))


def _same_images(base: Revision, head: Revision, path: str) -> bool:
    """Returns whether both sides classified the same records. Equal names are not enough."""
    before, after = (
        {name: row["actual"] for name, row in side.predictions.get(path, {}).items()}
        for side in (base, head)
    )
    pipeline, split = _parts(path)
    records = f"data/{pipeline}/tfrecords/{split}"
    hashes = [side.hashes.get(records) for side in (base, head)]
    return before == after and hashes[0] == hashes[1] is not None


def _test(before: Rows, after: Rows) -> float:
    """Returns the p value of images won minus images lost, with one cluster per family or image."""
    clusters: Counter[str] = Counter()
    for name, row in before.items():
        clusters[row.get("family") or name] += _right(after[name]) - _right(row)
    return sign_flip_test(list(clusters.values()))


def _verdict(before: Rows | None, after: Rows | None, p: float | None) -> str:
    if before is None or after is None:
        return f"{_new_or_removed(before)}, nothing to compare with"
    if p is None:
        return "not compared: the images are not the same"
    won = sum(_right(after[name]) and not _right(before[name]) for name in before)
    lost = sum(_right(before[name]) and not _right(after[name]) for name in before)
    reason = f"({won} won, {lost} lost, p = {p:.3g})"
    if p >= SIGNIFICANT:
        return f"no evidence of a difference {reason}"
    return f"**{'better' if won > lost else 'worse'}** {reason}"


def _params(base: Revision, head: Revision) -> str:
    rows = [
        (_code(key), *(_code("none" if value is None else value) for value in values))
        for key, *values in changes(base.params, head.params)
    ]
    return _table(("key", "before", "after"), rows)


def _stages(base: Revision, head: Revision) -> str:
    rows: list[tuple[str, ...]] = []
    for stage, before, after in changes(base.stages, head.stages):
        if before is None or after is None:
            rows.append((_code(stage), _new_or_removed(before), ""))
            continue
        reads, writes = (_changed(before.get(k, []), after.get(k, [])) for k in ("deps", "outs"))
        reads += ["params.yaml"] * (before.get("params") != after.get("params"))
        reads += ["its command"] * (before["cmd"] != after["cmd"])
        if reads or writes:
            cells = [", ".join(map(_code, paths)) or "no" for paths in (reads, writes)]
            rows.append((_code(stage), *cells))
    return _table(("stage", "changed inputs", "changed outputs"), rows)


def _changed(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    old, new = ({(file["path"], file["md5"]) for file in side} for side in (before, after))
    return sorted({path for path, _ in old ^ new})


def _metrics(base: Revision, head: Revision) -> str:
    rows = []
    for (path, key), before, after in changes(base.metrics, head.metrics):
        values = ("" if value is None else f"{value:g}" for value in (before, after))
        one_sided = before is None or after is None
        change = _new_or_removed(before) if one_sided else f"{after - before:+.6f}"
        rows.append((_code(path), _code(key), *values, change))
    return _table(("file", "metric", "before", "after", "change"), rows)


def _confusions(base: Revision, head: Revision) -> str:
    rows = []
    for path in sorted(base.predictions.keys() & head.predictions.keys()):
        before, after = (_confused(side.predictions[path]) for side in (base, head))
        moved = [(pair, before[pair], after[pair]) for pair, _, _ in changes(before, after)]
        moved.sort(key=lambda row: -abs(row[2] - row[1]))
        for pair, *counts in moved[:MOST_CONFUSIONS]:
            rows.append((_title(path), *map(_code, pair), *map(str, counts)))
    return _table(("predictions", "actual", "predicted", "before", "after"), rows)


def _curves(base: Revision, head: Revision) -> str:
    charts = [
        f"{_code(name)}: {_chart(before, after)}"
        for name, before, after in changes(base.curves, head.curves)
    ]
    return "\n\n".join(charts) or "No change."


def _chart(before: list[float] | None, after: list[float] | None) -> str:
    """Draws one or two losses with Mermaid, which spreads each line over the whole axis."""
    drawn = [(*side, losses) for side, losses in ((BEFORE, before), (AFTER, after)) if losses]
    legend = ", ".join(f"{when} in {color}" for when, color, _, _ in drawn)
    if not all(isfinite(loss) for *_, losses in drawn for loss in losses):
        return f"{legend}\n\nThe loss is not finite."
    lengths = {len(losses) for *_, losses in drawn}
    axis = f'"epoch" 1 --> {max(lengths)}' if len(lengths) == 1 else '"% of training" 0 --> 100'
    palette = ", ".join(code for _, _, code, _ in drawn)
    theme = {"themeVariables": {"xyChart": {"plotColorPalette": palette}}}
    lines = [f"```mermaid\n%%{{init: {json.dumps(theme, allow_nan=False)}}}%%", "xychart-beta"]
    lines += [f"  x-axis {axis}", '  y-axis "loss"']
    lines += [f"  line [{', '.join(f'{loss:.4g}' for loss in losses)}]" for *_, losses in drawn]
    return "\n".join([f"{legend}\n", *lines, "```"])


SECTIONS = {
    "Is it really better?": _verdicts,
    "Metrics": _metrics,
    "Params": _params,
    "Stages": _stages,
    "Confusions that moved most": _confusions,
    "Training loss": _curves,
}


def _new_or_removed(before: object) -> str:
    return "new" if before is None else "removed"


def _confused(rows: Rows) -> Counter[tuple[str, str]]:
    return Counter((r["actual"], r["predicted"]) for r in rows.values() if not _right(r))


def _right(row: dict[str, str]) -> bool:
    return row["actual"] == row["predicted"]


def _accuracy(side: Revision, path: str) -> list[float]:
    """Returns the accuracy and the ends of its interval from the metric file of the predictions."""
    pipeline, split = _parts(path)
    suffix, file = "" if split == "test" else f"_{split}", f"data/{pipeline}/metrics.json"
    keys = [(file, f"accuracy{suffix}{end}") for end in ("", "_low", "_high")]
    return [side.metrics[key] for key in keys if key in side.metrics]


def _share(accuracy: Sequence[float]) -> str:
    value, *ends = [f"{number * 100:.2f}" for number in accuracy] or [""]
    return f"{value} ({' to '.join(ends)})" if ends else value


def _parts(path: str) -> tuple[str, str]:
    """Returns the pipeline and the split of "data/mnist/predictions_unseen.csv"."""
    file = PurePosixPath(path)
    return file.parent.name, file.stem.removeprefix("predictions").strip("_") or "test"


def _title(path: str) -> str:
    return _code(", ".join(_parts(path)))


def _table(header: Iterable[str], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return "No change."
    more = f"\n\nAnd {len(rows) - MOST_ROWS} more." if len(rows) > MOST_ROWS else ""
    return markdown.table(header, rows[:MOST_ROWS]) + more


def _code(value: Any) -> str:
    text = " ".join(str(value).split()) or " "
    if len(text) > LONGEST:
        text = text[:LONGEST] + "..."
    # No backtick may end the code, and no pipe the cell.
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"
