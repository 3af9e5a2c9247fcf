"""Checks that the lock files are those of pyproject.toml: every dependency pinned, in range, by hash."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_lock(path: Path) -> list[Requirement]:
    """Reads the pinned packages of a lock file.

    Raises:
        ValueError: a package has no hash, or the file records an address.
    """
    text = path.read_text(encoding="utf-8").replace("\\\n", "")
    if re.search(r"https?://|file:", text):
        raise ValueError(f"{path}: records an address")
    locked = []
    for line in filter(None, text.splitlines()):
        pinned, *hashes = line.split("--hash=")
        if not hashes:
            raise ValueError(f"{path}: no hash in: {line}")
        locked.append(Requirement(pinned))
    return locked


def problems(project: Path, locks: Mapping[str, Path]) -> list[str]:
    """Lists what the lock files lack of what pyproject.toml asks for.

    Args:
        project: pyproject.toml.
        locks: the lock file of each dependency group; that of no group is called "".
    """
    declared = tomllib.loads(project.read_text(encoding="utf-8"))
    groups = declared["dependency-groups"] | {"": []}
    found = []
    for group, path in locks.items():
        wanted = [*declared["project"]["dependencies"]]
        for entry in groups[group]:
            wanted += groups[entry["include-group"]] if isinstance(entry, dict) else [entry]
        pins = read_lock(path)
        for requirement in map(Requirement, wanted):
            versions = [
                next(iter(pin.specifier)).version
                for pin in pins
                if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
            ]
            if not versions or not all(map(requirement.specifier.contains, versions)):
                found.append(f"{path}: {requirement} is asked for, {versions or 'nothing'} locked")
    return found


def main() -> None:
    locks = {"": "requirements.txt", "ray": "requirements-ray.txt", "dev": "requirements-dev.txt"}
    found = problems(Path("pyproject.toml"), {group: Path(name) for group, name in locks.items()})
    if found:
        sys.exit("error: run `make lock`: " + "; ".join(found))


if __name__ == "__main__":
    main()
