"""The tables of docs/performance.md, which benchmarks fill."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from tools import markdown

HEADERS = {
    "ratios": ("what", "result", "floor", "aim", "reached", "medians", "run"),
    "step": ("what", "ms", "run"),
    "growth": ("step", "letters", "µs per letter", "peak MB", "MB before the first letter"),
}
KEYS = {"ratios": 1, "step": 1, "growth": 2}
"""The number of cells, from the left, that identify a row."""

Row = Sequence[str]


def number(value: float) -> str:
    """Formats a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def with_rows(page: str, rows: Sequence[tuple[str, Row]], machine: str) -> str:
    """Returns the page with these rows, each after the name of its table, and then the others."""
    tables: dict[str, dict[Row, Row]] = {name: {} for name in HEADERS}
    for name, row in rows:
        tables[name][tuple(row[: KEYS[name]])] = row
    for name, measured in tables.items():
        for key, row in _read_rows(page, name).items():
            measured.setdefault(key, row)
    texts = {name: markdown.table(HEADERS[name], tables[name].values()) for name in HEADERS}
    texts["machine"] = machine
    return markdown.rewrite(page, {name: text.__str__ for name, text in texts.items()})


def _read_rows(page: str, name: str) -> dict[Row, Row]:
    """Returns the rows of a table by the cells that identify them."""
    table = page.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    rows = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines[2:]]
    return {tuple(row[: KEYS[name]]): row for row in rows}


def describe_machine() -> str:
    """Returns what a run was on: the processor, Python and the load (Linux)."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    processor = found[1] if found else platform.machine()
    return (
        f"on {len(os.sched_getaffinity(0))} cores of {processor}, Python "
        f"{platform.python_version()}, load at its end {os.getloadavg()[0]:.1f}"
    )
