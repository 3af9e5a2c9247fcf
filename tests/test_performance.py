"""docs/performance.md has the tables of docs/performance.json."""

import json
import re

from tests.benchmarks.tables import PAGE, RESULTS, merged, with_tables


def test_the_page_has_every_table_of_the_results() -> None:
    page, results = PAGE.read_text("utf-8"), json.loads(RESULTS.read_text("utf-8"))
    assert with_tables(page, results) == page
    assert set(re.findall(r"<!-- (\w+) -->", page)) == set(results)


def test_rows_that_were_not_measured_stay() -> None:
    rows = [("step", "loader", {"what": "loader", "ms": "2"}), ("step", "new", {"what": "new"})]
    info = {"cpu": {}, "machine": "m", "cores": 2, "python_version": "3.11", "load": 0.5}
    run = {"machine_info": info, "benchmarks": [{"extra_info": {"rows": rows}}, {"extra_info": {}}]}
    old = {
        "step": {
            "machine": {"processor": "n"},
            "rows": {"conv": {"ms": "1"}, "loader": {"ms": "3"}},
        },
        "ratios": {"machine": {"processor": "n"}, "rows": {}},
    }
    found = merged(old, run)
    assert list(found["step"]["rows"]) == ["conv", "loader", "new"]
    assert found["step"]["rows"]["loader"]["ms"] == "2"
    assert [found[name]["machine"]["processor"] for name in ("step", "ratios")] == ["m", "n"]
