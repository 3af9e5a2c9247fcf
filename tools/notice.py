"""Writes the packages in NOTICE: the licence of each package that requirements.txt pins.

Licences are what the installed packages state. A package that states none, or that is not
installed because it is for another system, keeps its line in NOTICE.
"""

import re
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from letterpress.core.errors import PipelineError

NOTICE, LOCK = Path("NOTICE"), Path("requirements.txt")


def read_licence(package: str) -> str:
    """Returns the licence that an installed package states, "" if it states none."""
    stated = metadata.metadata(package)
    expression, text = ((stated.get_all(k) or [""])[0] for k in ("License-Expression", "License"))
    short = text if len(text) < 60 and "\n" not in text else ""
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in stated.get_all("Classifier") or []
        # "OSI Approved" alone names no licence.
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    return expression or short or " OR ".join(classifiers)


def split_notice(text: str) -> tuple[str, dict[str, str]]:
    """Splits a NOTICE into what is written by hand and the licences, by package."""
    head, title, listed = re.split(r"(\nPackages.*\n\n)", text, maxsplit=1)
    lines = filter(None, map(str.strip, listed.splitlines()))
    return head + title, dict(line.split(": ", 1) for line in lines)


def find_licences(lock: Path, known: dict[str, str]) -> dict[str, str]:
    """Returns the licence of each package of a lock file: as installed, otherwise as known."""
    pins = re.findall(r"^([\w.-]+)(?:\[.*\])?==", lock.read_text(encoding="utf-8"), re.MULTILINE)
    found = {}
    for name in sorted({re.sub(r"[-_.]+", "-", pin).lower() for pin in pins}):
        with suppress(metadata.PackageNotFoundError):
            found[name] = read_licence(name)
        found[name] = found.get(name) or known.get(name, "")
        if not found[name]:
            raise PipelineError(f"{NOTICE}: {name} states no licence. Write its line by hand")
    return found


def main() -> None:
    head, known = split_notice(NOTICE.read_text(encoding="utf-8"))
    lines = [f"  {name}: {terms}\n" for name, terms in find_licences(LOCK, known).items()]
    NOTICE.write_text(head + "".join(lines), encoding="utf-8")
