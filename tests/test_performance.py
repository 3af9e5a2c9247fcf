"""The page on performance shows what was measured."""

import json
import re

import pytest

from tests.conftest import ROOT
from tools.bench import PAGE, RESULTS, TABLES, merged, tables, with_tables

RESULTS_HERE = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))
PAGE_HERE = (ROOT / PAGE).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_the_results(name: str) -> None:
    assert f"<!-- {name} -->\n\n{tables(RESULTS_HERE)[name]}\n\n<!-- /{name} -->" in PAGE_HERE


def test_new_results_take_the_place_of_old_ones() -> None:
    row = RESULTS_HERE["tables"]["ratios"][0] | {"result": 123456.0}
    run = {
        "machine_info": {
            "cpu": {"brand_raw": "Abacus"},
            "machine": "x86_64",
            "cores": 2,
            "python_version": "3",
            "load": 0.5,
        },
        "benchmarks": [{"extra_info": {"rows": [row | {"table": "ratios"}]}}, {"extra_info": {}}],
    }
    results = merged(RESULTS_HERE, run)
    page = with_tables(PAGE_HERE, results)
    assert "123,456" in page
    assert "Abacus" in page
    assert len(results["tables"]["ratios"]) == len(RESULTS_HERE["tables"]["ratios"])
    assert results["tables"]["growth"] == RESULTS_HERE["tables"]["growth"]


def test_a_page_without_rows_is_complete() -> None:
    assert set(re.findall(r"<!-- (\w+) -->", PAGE_HERE)) == set(TABLES)
