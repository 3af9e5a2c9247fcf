"""The results of `make bench`: docs/performance.json, and the tables of docs/performance.md.

Each table has the machine of the last run that measured one of its rows.
"""

import copy
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from letterpress.core.files import write_json
from tests.conftest import ROOT
from tools import markdown

RESULTS, PAGE = ROOT / "docs/performance.json", ROOT / "docs/performance.md"


def merged(old: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tables `old` with the rows of a pytest-benchmark run added or replaced."""
    info = run["machine_info"]
    machine = {
        "processor": info["cpu"].get("brand_raw", info["machine"]),
        "cores": info["cores"],
        "python": info["python_version"],
        "load": info["load"],
    }
    tables = copy.deepcopy({**old})
    for one in run["benchmarks"]:
        for name, what, cells in one["extra_info"].get("rows", []):
            tables[name]["rows"][what] = cells
            tables[name]["machine"] = machine
    return tables


def with_tables(page: str, tables: Mapping[str, Any]) -> str:
    """Returns the page with each table between its markers, <!-- name --> and <!-- /name -->."""
    machine = "On {cores} cores of {processor}, Python {python}, load at the end of the run {load}."

    def write(table: Mapping[str, Any]) -> str:
        rows = [*table["rows"].values()]
        cells = [row.values() for row in rows]
        return f"{markdown.table(rows[0], cells)}\n\n{machine.format(**table['machine'])}"

    return markdown.rewrite(page, {name: partial(write, one) for name, one in tables.items()})


def add(run: Mapping[str, Any]) -> None:
    """Adds the rows of a run to both files. Rows that were not measured stay."""
    tables = merged(json.loads(RESULTS.read_text("utf-8")), run)
    write_json(RESULTS, tables)
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), tables), "utf-8")
