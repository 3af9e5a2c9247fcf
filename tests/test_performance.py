"""`make bench` writes what it measured into docs/performance.md, and keeps the other rows."""

import pytest

from tests.benchmarks import conftest
from tests.benchmarks.conftest import PAGE, Measuring
from tests.benchmarks.tables import HEADERS, describe_machine, with_rows


def test_measured_rows_are_replaced_or_added_and_others_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conftest, "ROWS", [])
    seconds = iter((1.0, 2.0) * 3)
    measuring, times = Measuring(quick=False), lambda: next(seconds)
    measuring.ratio("cost / of a peer", times, times, unit="s", goals=(2.5, 1.5))
    measuring.value("accuracy", 0.5, unit="", goals=(0.75, 0.8))
    measuring.row("step", "the whole step", "1.50", "full")
    measuring.row("growth", "tarball", "7,000", "1,234", "9", "8")
    before, machine = PAGE.read_text(encoding="utf-8"), describe_machine()
    page = with_rows(before, conftest.ROWS, machine)
    for line in (
        "| cost / of a peer | 2 | 2.5 | 1.5 | floor | 2 / 1 s | full |",
        "| accuracy | 0.5000 | 0.75 | 0.8 | - |  | full |",
        "| the whole step | 1.50 | full |",
        "| tarball | 7,000 | 1,234 | 9 | 8 |",
    ):
        assert page.count(f"\n{line}\n") == 1
    assert page.count("| the whole step |") == 1
    assert f"<!-- machine -->{machine}<!-- /machine -->" in page
    kept = [line for line in before.splitlines() if line.startswith("| conv")]
    assert kept
    assert set(kept) <= set(page.splitlines())
    assert with_rows(page, conftest.ROWS, machine) == page


def test_the_page_has_every_table_with_its_headings() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, header in HEADERS.items():
        assert f"<!-- {name} -->\n\n| {' | '.join(header)} |\n" in page
