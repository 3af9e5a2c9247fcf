"""Notices edits while DVC runs a stage, as DVC hashes dependencies only after the command.

Code is compared with what Python imported, params by the values that dvc.yaml lists for the stage,
other files by size, time and inode. It needs no other package, so that a stage can import it first.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from letterpress.core.errors import PipelineError

_code: dict[Path, bytes] = {}
"""The project's source files that Python has imported, as they were at that time."""
_states: dict[Path, tuple[int, ...]] = {}
"""The state of each other file among the dependencies, when the stage started."""
_IGNORED = {".py", ".pyc", ".swp", ".orig"}
"""Suffixes of code, which is noted when it is imported, and of what Python and editors write."""

_stage: dict[str, list[str]] = {}
"""The deps, params and outs that dvc.yaml lists for the stage. Empty in other processes."""


class _Finder(MetaPathFinder):
    """Notes each source file of the project before Python reads it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _is_in_project(name.partition(".")[0]):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec:
            _note_code(spec.origin)
        return spec


def watch_imports() -> None:
    """Notes the project's code that Python has imported and will import."""
    if "DVC_STAGE" in os.environ:
        sys.meta_path.insert(0, _Finder())
        _note_imported()


def watch_inputs() -> None:
    """Notes the dependencies of the stage that DVC runs. Call this before the stage reads any.

    Raises:
        PipelineError: an output would be in a symbolic link, which DVC refuses, but only at the end.
    """
    if "DVC_STAGE" in os.environ and Path("dvc.yaml").is_file():
        _stage.update(_read_stage(os.environ["DVC_STAGE"]))
        _refuse_links()
        _states.update(_read_states())
        _note_imported()
        for dep in _stage["deps"]:
            _note_code(str(Path(dep).absolute()))


def _refuse_links() -> None:
    links = {str(folder) for out in _stage["outs"] for folder in Path(out).parents}
    for link in sorted(filter(os.path.islink, links)):
        raise PipelineError(
            f"{link}: DVC keeps no outputs in a symbolic link (got one to {os.path.realpath(link)}). "
            "Make it a folder; to use another disk, move the cache: `dvc cache dir`"
        )


def check_inputs() -> None:
    """Raises a PipelineError and removes the stage's outputs if a dependency has changed."""
    changed = sorted({*_changes()}) if _stage else []
    if changed:
        for out in map(Path, _stage["outs"]):
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise PipelineError(
            f"{', '.join(changed[:4])}{more} changed while the stage ran. Run `dvc repro` again"
        )


def _changes() -> Iterator[str]:
    """Yields the names of the dependencies that have changed since they were noted."""
    for path, content in _code.items():
        if not path.is_file() or path.read_bytes() != content:
            yield str(path)
    for path, _ in _states.items() ^ _read_states().items():
        yield str(path)
    from letterpress.core.params import PARAMS, first_values, read_params  # slow to import

    if first_values:
        values = read_params(PARAMS)
        for key in _stage["params"]:
            if _find(values, key) != _find(first_values, key):
                yield f"{PARAMS}: {key}"


def _find(values: Any, key: str) -> Any:
    """Returns the value of section.key, None if there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


@cache
def _is_in_project(package: str) -> bool:
    return Path(package).is_dir() or Path(f"{package}.py").is_file()


def _note_imported() -> None:
    for name, module in list(sys.modules.items()):  # lazy modules import others meanwhile
        if name == "__main__" or _is_in_project(name.partition(".")[0]):
            _note_code(getattr(module, "__file__", None))


def _note_code(file: str | None) -> None:
    """Notes a source file of the project, unless that was done before."""
    path, here = Path(file or ""), Path.cwd()
    if path.suffix != ".py" or not path.is_relative_to(here) or path.is_relative_to(sys.prefix):
        return
    path = path.relative_to(here)
    if path not in _code and path.is_file():
        _code[path] = path.read_bytes()


def _read_stage(name: str) -> dict[str, list[str]]:
    """Returns what dvc.yaml lists for a stage; options are left out."""
    from letterpress.core.params import PARAMS, read_params  # slow to import

    name, _, item = name.partition("@")
    stages = read_params(Path("dvc.yaml")).get("stages", {})
    stage = stages.get(name, {})
    stage = stage.get("do", stage)  # of a foreach stage

    def fill(found: re.Match[str]) -> str:
        return item if found[1] == "item" else str(_find(read_params(PARAMS), found[1]))

    listed = {
        kind: [
            re.sub(r"\$\{([\w.]+)\}", fill, text)
            for entry in stage.get(kind, [])
            for text in ([entry] if isinstance(entry, str) else entry)
        ]
        for kind in ("deps", "params", "outs", "metrics", "plots")
    }
    outs = [out for kind in ("outs", "metrics", "plots") for out in listed[kind]]
    return {"deps": listed["deps"], "params": listed["params"], "outs": outs}


def _read_states() -> dict[Path, tuple[int, ...]]:
    """Returns the size, time and inode of each file in the dependencies that is not code."""
    states: dict[Path, tuple[int, ...]] = {}
    for dep in map(Path, _stage["deps"]):
        for path in dep.rglob("*") if dep.is_dir() else [dep]:
            if path.is_file() and not path.name.startswith(".") and path.suffix not in _IGNORED:
                state = path.stat()
                states[path] = state.st_size, state.st_mtime_ns, state.st_ino
    return states
