"""docs/performance.md has the tables of docs/performance.json."""

import json
import re

from tests.conftest import ROOT
from tools.bench import PAGE, RESULTS, merged, with_tables

RESULTS_HERE = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))
PAGE_HERE = (ROOT / PAGE).read_text(encoding="utf-8")


def test_the_page_has_every_table_of_the_results() -> None:
    assert with_tables(PAGE_HERE, RESULTS_HERE) == PAGE_HERE
    assert set(re.findall(r"<!-- (\w+) -->", PAGE_HERE)) == set(RESULTS_HERE["tables"])


def test_rows_that_were_not_measured_stay() -> None:
    rows = [("step", "loader", {"what": "loader", "ms": "2"}), ("step", "new", {"what": "new"})]
    info = {"cpu": {}, "machine": "m", "cores": 2, "python_version": "3.11", "load": 0.5}
    run = {"machine_info": info, "benchmarks": [{"extra_info": {"rows": rows}}, {"extra_info": {}}]}
    old = {
        "machine": {},
        "tables": {"step": {"conv": {"ms": "1"}, "loader": {"ms": "3"}}, "ratios": {}},
    }
    found = merged(old, run)
    assert list(found["tables"]["step"]) == ["conv", "loader", "new"]
    assert found["tables"]["step"]["loader"]["ms"] == "2"
    assert found["machine"]["processor"] == "m"
