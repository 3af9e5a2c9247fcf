"""Markdown tables, and pages whose figures stay up to date."""

import re
from collections.abc import Callable, Iterable, Mapping


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rewrite(page: str, figures: Mapping[str, Callable[[], str]]) -> str:
    """Replaces everything between <!-- NAME --> and <!-- /NAME --> by the figure of that name.

    A figure of several lines gets an empty line before and after it. An unknown name is a KeyError.
    """

    def fill(found: re.Match[str]) -> str:
        figure = figures[found[1]]()
        space = "\n\n" if "\n" in figure else ""
        return f"<!-- {found[1]} -->{space}{figure}{space}<!-- /{found[1]} -->"

    return re.sub(r"<!-- ([\w-]+) -->.*?<!-- /\1 -->", fill, page, flags=re.DOTALL)
