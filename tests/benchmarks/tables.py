"""The results of `make bench`: docs/performance.json, and the tables of docs/performance.md."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from letterpress.core.files import write_json
from tests.conftest import ROOT
from tools import markdown

RESULTS, PAGE = ROOT / "docs/performance.json", ROOT / "docs/performance.md"


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

    def write(rows: list[dict[str, str]]) -> str:
        return f"{markdown.table(rows[0], [row.values() for row in rows])}\n\n{machine}"

    tables = results["tables"].items()
    return markdown.rewrite(page, {name: partial(write, [*rows.values()]) for name, rows in tables})


def add(run: Mapping[str, Any]) -> None:
    """Adds the rows of a run to both files. Rows that were not measured stay."""
    results = merged(json.loads(RESULTS.read_text("utf-8")), run)
    write_json(RESULTS, results)
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), results), "utf-8")
