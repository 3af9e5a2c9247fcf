"""docs/performance.md has the tables of docs/performance.json."""

import json
import re

from tests.conftest import ROOT
from tools.bench import PAGE, RESULTS, TABLES, merged, tables, with_tables

RESULTS_HERE = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))
PAGE_HERE = (ROOT / PAGE).read_text(encoding="utf-8")


def test_the_page_has_every_table_of_the_results() -> None:
    assert with_tables(PAGE_HERE, RESULTS_HERE) == PAGE_HERE
    assert set(re.findall(r"<!-- (\w+) -->", PAGE_HERE)) == set(TABLES)
    for table in tables(RESULTS_HERE).values():
        assert table in PAGE_HERE


def test_new_results_replace_old_ones_and_keep_the_rest() -> None:
    row = RESULTS_HERE["tables"]["ratios"][0] | {"result": 123456.0}
    machine = {"machine": "x86_64", "cores": 2, "python_version": "3", "load": 0.5}
    run = {
        "machine_info": machine | {"cpu": {"brand_raw": "Abacus"}},
        "benchmarks": [{"extra_info": {"rows": [row | {"table": "ratios"}]}}, {"extra_info": {}}],
    }
    results = merged(RESULTS_HERE, run)
    page = with_tables(PAGE_HERE, results)
    assert "123,456" in page
    assert "Abacus" in page
    assert len(results["tables"]["ratios"]) == len(RESULTS_HERE["tables"]["ratios"])
    assert results["tables"]["growth"] == RESULTS_HERE["tables"]["growth"]
