"""Markdown tables, and pages whose figures stay up to date."""

import re
from collections.abc import Callable, Iterable, Mapping


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rewrite(page: str, figures: Mapping[str, Callable[..., str]]) -> str:
    """Replaces what is between <!-- NAME WORD... --> and <!-- /NAME --> by figures[NAME](WORD...)."""

    def fill(found: re.Match[str]) -> str:
        name, *words = found[1].split()
        text = figures[name](*words)
        space = "\n\n" if "\n" in text else ""
        return f"<!-- {found[1]} -->{space}{text}{space}<!-- /{found[2]} -->"

    return re.sub(r"<!-- (([\w-]+)[^>]*?) -->.*?<!-- /\2 -->", fill, page, flags=re.DOTALL)
