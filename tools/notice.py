"""Writes NOTICE: the licence of each package that requirements.txt pins, of the typefaces and of the data.

Licences are what the installed packages say of themselves. A package that says nothing, or that is not
installed here because it is another system's, keeps the line that NOTICE has of it.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from tools.check_lock import read_lock

NOTICE, LOCK = Path("NOTICE"), Path("requirements.txt")
HEAD = """Letterpress is under the MIT licence, see LICENSE. It contains none of what follows; it installs
the packages, draws with the typefaces and fetches the data.

Data

  MNIST: Y. LeCun, C. Cortes and C. Burges. CC BY-SA 3.0, as Keras's documentation says.

Typefaces

  Caladea: Apache-2.0
  Amatic SC, Fredoka One, Hanken Grotesk, Intuitive, Lato, Manrope, Red Hat Display,
  Source Sans Pro, Source Serif Pro: OFL-1.1
  DejaVu: Bitstream Vera and public domain; STIX: STIX Font License; Computer Modern: BaKoMa Fonts
  Licence (the three come with matplotlib, which has their texts)

Packages (`make notice` writes these lines from requirements.txt and what is installed)

"""


def licence(package: str) -> str:
    """Returns the licence that an installed package states, "" if none.

    Raises:
        metadata.PackageNotFoundError: it is not installed.
    """
    stated = metadata.metadata(package)
    values = {key: stated.get_all(key) or [""] for key in ("License-Expression", "License")}
    (expression,), (text,) = values.values()
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in stated.get_all("Classifier") or []
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    short = text if len(text) < 60 and "\n" not in text else ""
    return expression or short or " OR ".join(classifiers)


def read_notice(notice: Path) -> dict[str, str]:
    """Reads the licences that a NOTICE lists, by package."""
    lines = notice.read_text(encoding="utf-8").partition("\nPackages")[2].splitlines()
    return dict(line.split(": ", 1) for line in map(str.strip, lines[1:]) if line)


def packages(lock: Path, known: dict[str, str]) -> dict[str, str]:
    """Returns the licence of each package of a lock file: what is installed says, else what is known."""
    found = {}
    for name in sorted({re.sub(r"[-_.]+", "-", pin.name).lower() for pin in read_lock(lock)}):
        try:
            found[name] = licence(name) or known.get(name, "")
        except metadata.PackageNotFoundError:
            found[name] = known.get(name, "")
        if not found[name]:
            sys.exit(f"error: {NOTICE}: {name} does not state its licence here: write it by hand")
    return found


def main() -> None:
    known = read_notice(NOTICE) if NOTICE.exists() else {}
    lines = [f"  {name}: {terms}\n" for name, terms in packages(LOCK, known).items()]
    NOTICE.write_text(HEAD + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
