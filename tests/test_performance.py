"""docs/performance.md has the tables of docs/performance.json."""

import json
import re

from tests.conftest import ROOT
from tools.bench import PAGE, RESULTS, TABLES, with_tables

RESULTS_HERE = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))
PAGE_HERE = (ROOT / PAGE).read_text(encoding="utf-8")


def test_the_page_has_every_table_of_the_results() -> None:
    assert with_tables(PAGE_HERE, RESULTS_HERE) == PAGE_HERE
    assert set(re.findall(r"<!-- (\w+) -->", PAGE_HERE)) == set(TABLES)
