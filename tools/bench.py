"""Turns the results of `make bench` into docs/performance.json, and into the tables and the plot of the docs.

python -m tools.bench build/benchmark.json    takes new results in, those not measured again stay
python -m tools.bench                         writes the tables again
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stages.mnist.files import replacing, write_json
from tools.cards import markdown_table, rewrite

RESULTS = Path("docs/performance.json")
PAGE = Path("docs/performance.md")
PLOT = Path("docs/growth.png")

Row = Mapping[str, Any]


def _number(value: float) -> str:
    """Three digits that say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _holds(row: Row) -> str:
    less_is_better = row["aim"] < row["floor"]
    for name in ("aim", "floor"):
        if row["result"] <= row[name] if less_is_better else row["result"] >= row[name]:
            return name
    return "-"


def _result(row: Row) -> str:
    if "peer" in row:
        return _number(row["result"])
    return f"{row['result']:.4f}" if not row["unit"] else f"{_number(row['result'])} {row['unit']}"


def _measured(row: Row) -> str:
    """The two values behind a ratio."""
    if "peer" not in row:
        return ""
    return f"{_number(row['ours'])} / {_number(row['peer'])} {row['unit']}"


# The columns of each table: a heading, and what stands below it.
TABLES: dict[str, dict[str, Callable[[Row], str]]] = {
    "ratios": {
        "what": lambda row: row["what"],
        "result": _result,
        "floor": lambda row: f"{row['floor']:g}",
        "aim": lambda row: f"{row['aim']:g}",
        "reached": _holds,
        "medians": _measured,
        "run": lambda row: "quick" if row["quick"] else "full",
    },
    "step": {
        "what": lambda row: row["what"],
        "ms": lambda row: f"{row['milliseconds']:.2f}",
        "run": lambda row: "quick" if row["quick"] else "full",
    },
    "variants": {
        "what": lambda row: row["what"],
        "ms a step": lambda row: f"{row['milliseconds']:.1f}",
        "as it is": lambda row: f"{row['milliseconds_today']:.1f}",
        "speed": lambda row: f"{row['speed']:.2f}",
    },
    "start": {
        "module": lambda row: row["what"],
        "seconds": lambda row: f"{row['seconds']:.1f}",
        "TensorFlow": lambda row: row["tensorflow"],
        "MB": lambda row: str(row["megabytes"]),
    },
    "growth": {
        "step": lambda row: row["step"],
        "letters": lambda row: f"{row['letters']:,}",
        "µs a letter": lambda row: _number(row["microseconds"]),
        "peak MB": lambda row: str(row["megabytes"]),
        "before the first letter": lambda row: str(row["megabytes_at_start"]),
        "without libraries' code": lambda row: str(row["own_megabytes"]),
    },
    "ways": {
        "way": lambda row: row["what"],
        "ms": lambda row: f"{row['milliseconds']:.2f}",
    },
}


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Returns each table as Markdown."""
    return {
        name: markdown_table(
            columns, ([cell(row) for cell in columns.values()] for row in results["tables"][name])
        )
        + f"\n\n{_machine(results['machine'])}"
        for name, columns in TABLES.items()
    }


def _machine(machine: Row) -> str:
    return (
        f"On {machine['cores']} cores of {machine['processor']}, Python {machine['python']}, "
        f"load at the end of the run {machine['load']}."
    )


def merged(old: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the results with the rows of a pytest-benchmark run in the place of older ones."""
    info = run["machine_info"]
    machine = {
        "processor": info["cpu"].get("brand_raw", info["machine"]),
        "cores": info["cores"],
        "python": info["python_version"],
        "load": info["load"],
    }
    found: dict[str, dict[str, Row]] = {name: {} for name in TABLES}
    for name, rows in old.get("tables", {}).items():
        found[name] = {_key(row): row for row in rows}
    for benchmark in run["benchmarks"]:
        for row in benchmark["extra_info"].get("rows", []):
            table = row.pop("table")
            found[table][_key(row)] = row
    return {"machine": machine, "tables": {n: list(rows.values()) for n, rows in found.items()}}


def _key(row: Row) -> str:
    return str(row.get("what") or (row["step"], row["letters"]))


def with_tables(page: str, results: Mapping[str, Any]) -> str:
    """Returns the page with each table between its markers, <!-- name --> and <!-- /name -->."""
    return rewrite(page, {name: table.__str__ for name, table in tables(results).items()})


def draw_growth(rows: Iterable[Row], target: Path) -> None:
    """Draws the cost per letter and the memory of each step by the number of letters, as a PNG."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots(1, 2)
    for step in dict.fromkeys(row["step"] for row in rows):
        ours = [row for row in rows if row["step"] == step]
        for ax, key in zip(axes, ("microseconds", "megabytes"), strict=True):
            ax.plot([row["letters"] for row in ours], [row[key] for row in ours], "o-", label=step)
    for ax, title in zip(axes, ("CPU µs a letter", "peak memory, MB"), strict=True):
        ax.set(xscale="log", xlabel="letters", title=title, ylim=(0, None))
        ax.legend()
    with replacing(target) as path:
        FigureCanvasAgg(figure)
        figure.savefig(path)


def main() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    if len(sys.argv) > 1:
        results = merged(results, json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
        write_json(RESULTS, results)
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = with_tables(PAGE.read_text(encoding="utf-8"), results)
    with replacing(PAGE) as path:
        path.write_text(page, encoding="utf-8")
    draw_growth(results["tables"]["growth"], PLOT)
    print(tables(results)["ratios"])


if __name__ == "__main__":
    main()
