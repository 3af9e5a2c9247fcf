"""Writes the results of `make bench` to docs/performance.json and into the tables of the page.

python -m tools.bench benchmark.json    adds new results; rows that were not measured stay
python -m tools.bench                   writes the tables again
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from letterpress.core.files import write_json
from tools import markdown

RUN = {True: "quick", False: "full"}
RESULTS, PAGE = Path("docs/performance.json"), Path("docs/performance.md")

Row = Mapping[str, Any]


def _number(value: float) -> str:
    """Formats a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(row: Row) -> list[str]:
    result, floor, aim = row["result"], row["floor"], row["aim"]
    sign = -1 if aim < floor else 1  # less may be better
    reached = [name for name in ("aim", "floor") if sign * result >= sign * row[name]] or ["-"]
    shown, medians = _number(result), ""
    if "peer" in row:
        medians = f"{_number(row['ours'])} / {_number(row['peer'])} {row['unit']}"
    else:
        shown = f"{shown} {row['unit']}" if row["unit"] else f"{result:.4f}"
    return [row["what"], shown, f"{floor:g}", f"{aim:g}", reached[0], medians, RUN[row["quick"]]]


def _step(row: Row) -> list[str]:
    return [row["what"], f"{row['milliseconds']:.2f}", RUN[row["quick"]]]


def _growth(row: Row) -> list[str]:
    megabytes = [str(row[key]) for key in ("megabytes", "megabytes_at_start")]
    return [row["step"], f"{row['letters']:,}", _number(row["microseconds"]), *megabytes]


TABLES = {
    "ratios": (("what", "result", "floor", "aim", "reached", "medians", "run"), _ratio),
    "step": (("what", "ms", "run"), _step),
    "growth": (
        ("step", "letters", "µs per letter", "peak MB", "MB before the first letter"),
        _growth,
    ),
}
"""The headings of each table, and the function that formats a row."""


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Returns each table as Markdown, with the machine it was measured on."""
    machine = results["machine"]
    line = (
        f"On {machine['cores']} cores of {machine['processor']}, Python {machine['python']}, "
        f"load at the end of the run {machine['load']}."
    )
    return {
        name: f"{markdown.table(header, map(write, results['tables'][name]))}\n\n{line}"
        for name, (header, write) in TABLES.items()
    }


def merged(old: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `old` with the rows of a pytest-benchmark run added or replaced."""
    info = run["machine_info"]
    machine = {
        "processor": info["cpu"].get("brand_raw", info["machine"]),
        "cores": info["cores"],
        "python": info["python_version"],
        "load": info["load"],
    }
    found = {name: {_key(row): row for row in old["tables"].get(name, [])} for name in TABLES}
    for one in run["benchmarks"]:
        for row in one["extra_info"].get("rows", []):
            table = row.pop("table")
            if table in found:
                found[table][_key(row)] = row
    return {
        "machine": machine,
        "tables": {name: list(rows.values()) for name, rows in found.items()},
    }


def _key(row: Row) -> str:
    return str(row.get("what") or (row["step"], row["letters"]))


def with_tables(page: str, results: Mapping[str, Any]) -> str:
    """Returns the page with each table between its markers, <!-- name --> and <!-- /name -->."""
    return markdown.rewrite(page, {name: table.__str__ for name, table in tables(results).items()})


def main() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if len(sys.argv) > 1:
        results = merged(results, json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
        write_json(RESULTS, results)
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(tables(results)["ratios"])


if __name__ == "__main__":
    main()
