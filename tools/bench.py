"""Writes the results of `make bench` to docs/performance.json and into the tables of the page.

python -m tools bench benchmark.json    adds new results; rows that were not measured stay
python -m tools bench                   writes the tables again
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from letterpress.core.files import write_json
from tools import markdown

RESULTS, PAGE = Path("docs/performance.json"), Path("docs/performance.md")


def merged(old: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `old` with the rows of a pytest-benchmark run added or replaced."""
    info = run["machine_info"]
    machine = {
        "processor": info["cpu"].get("brand_raw", info["machine"]),
        "cores": info["cores"],
        "python": info["python_version"],
        "load": info["load"],
    }
    tables = {name: {**rows} for name, rows in old["tables"].items()}
    for one in run["benchmarks"]:
        for table, what, cells in one["extra_info"].get("rows", []):
            tables[table][what] = cells
    return {"machine": machine, "tables": tables}


def with_tables(page: str, results: Mapping[str, Any]) -> str:
    """Returns the page with each table between its markers, <!-- name --> and <!-- /name -->."""
    machine = (
        "On {cores} cores of {processor}, Python {python}, load at the end of the run {load}."
    ).format(**results["machine"])

    def write(name: str) -> str:
        rows = list(results["tables"][name].values())
        return f"{markdown.table(rows[0], [row.values() for row in rows])}\n\n{machine}"

    return markdown.rewrite(page, write)


def main(benchmark: Path | None = None) -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if benchmark:
        results = merged(results, json.loads(benchmark.read_text(encoding="utf-8")))
        write_json(RESULTS, results)
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
