"""What git alone holds of the results of a commit: no cache, no remote, no network."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

Stages = dict[str, dict[str, Any]]
Rows = dict[str, dict[str, str]]


class ReportError(Exception):
    """A revision cannot be reported on. The message is one line."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's floats: DVC writes 1e-05."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True)
class Revision:
    """A commit's params, stages and results."""

    commit: str
    """The full hash."""
    params: dict[str, Any] = field(repr=False)
    """Values of params.yaml by their path, "mnist.learning_rate"."""
    stages: Stages = field(repr=False)
    """The stages of dvc.lock."""
    metrics: dict[tuple[str, str], float] = field(repr=False)
    """Values by file and key."""
    predictions: dict[str, Rows] = field(repr=False)
    """Rows, with the columns "actual" and "predicted", by file and image."""
    curves: dict[str, list[float]] = field(repr=False)
    """The training loss of each epoch, by pipeline."""

    def file_hash(self, path: str) -> str | None:
        """The MD5 that dvc.lock records of a file, None where there is none."""
        for stage in self.stages.values():
            for file in [*stage.get("deps", []), *stage.get("outs", [])]:
                if file["path"] == path:
                    return str(file["md5"])
        return None


def read_revision(name: str) -> Revision:
    """Reads a commit of the repository of the current folder.

    Raises:
        ReportError: there is no such commit (or the clone is shallow), a file of the pipeline is
            missing or broken, or the results in dvc.lock do not belong to the code beside it.
    """
    try:
        return _read(_resolve(name))
    except (ReportError, yaml.YAMLError) as error:
        raise ReportError(f"{name}: {' '.join(str(error).split())}") from error
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise ReportError(f"{name}: dvc.yaml, dvc.lock or a result is broken: {error!r}") from error


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", *words], capture_output=True, check=False)
    if done.returncode:
        raise ReportError(f"git {' '.join(words)}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def _resolve(name: str) -> str:
    shallow = _git("rev-parse", "--is-shallow-repository").strip() == b"true"
    try:
        words = "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
        return _git(*words).decode().strip()
    except ReportError:
        remedy = "the clone is shallow, fetch its history" if shallow else "see git log"
        raise ReportError(f"no commit here: {remedy}") from None


def _read(commit: str) -> Revision:
    params, pipeline = _mapping(commit, "params.yaml"), _mapping(commit, "dvc.yaml")
    stages: Stages = _mapping(commit, "dvc.lock")["stages"]
    if not pipeline.get("metrics"):
        raise ReportError("dvc.yaml has no metrics")
    _check_lock(commit, _declared(pipeline), stages, params)
    outs = sorted(out["path"] for stage in stages.values() for out in stage.get("outs", []))
    return Revision(
        commit,
        dict(_leaves(params)),
        stages,
        {
            (path, key): value
            for path in pipeline["metrics"]
            for key, value in _metrics(commit, path).items()
        },
        {
            path: _predictions(commit, path)
            for path in outs
            if PurePosixPath(path).match("predictions*.csv")
        },
        {path.split("/")[1]: _losses(commit, path) for path in outs if path.endswith("/curves")},
    )


def _declared(pipeline: dict[str, Any]) -> Stages:
    """The stages of dvc.yaml, each foreach stage as the stages that it stands for."""
    stages: Stages = {}
    for name, stage in pipeline["stages"].items():
        if "foreach" not in stage:
            stages[name] = stage
            continue
        items = stage["foreach"]
        for key in items:
            item = items[key] if isinstance(items, dict) else key
            values = dict(_leaves(item, "item")) | {"key": key}
            stages[f"{name}@{key}"] = _filled(stage["do"], values)
    return stages


def _filled(value: Any, values: dict[str, Any]) -> Any:
    """Puts values in the place of "${item}", in texts, lists and mappings."""
    if isinstance(value, dict):
        return {_filled(key, values): _filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\$\{\s*([^}\s]+)\s*\}", lambda found: str(values[found[1]]), value)
    return value


def _check_lock(commit: str, declared: Stages, locked: Stages, params: dict[str, Any]) -> None:
    """Fails unless dvc.lock was made by this dvc.yaml, with these params and these files."""
    if declared.keys() != locked.keys():
        odd = ", ".join(sorted(declared.keys() ^ locked.keys()))
        raise _stale(f"dvc.yaml and dvc.lock do not both have {odd}")
    tracked = _git("ls-tree", "-r", "-z", "--full-tree", "--name-only", commit).decode().split("\0")
    made = {out["path"]: out["md5"] for entry in locked.values() for out in entry.get("outs", [])}
    uncached = {
        path
        for stage in declared.values()
        for out in stage.get("outs", [])
        if isinstance(out, dict)
        for path, options in out.items()
        if options.get("cache") is False
    }
    for name, entry in sorted(locked.items()):
        stage, used = declared[name], entry.get("params", {}).get("params.yaml", {})
        if stage["cmd"] != entry["cmd"]:
            raise _stale(f"dvc.lock ran another command in {name}")
        for what in ("deps", "outs"):
            if _names(stage.get(what, [])) != {file["path"] for file in entry.get(what, [])}:
                raise _stale(f"dvc.yaml and dvc.lock have other {what} in {name}")
        if _names(stage.get("params", [])) != used.keys():
            raise _stale(f"dvc.yaml and dvc.lock have other params in {name}")
        for key, value in used.items():
            if functools.reduce(lambda inner, part: inner[part], key.split("."), params) != value:
                raise _stale(f"{key} in params.yaml is not the value that {name} ran with")
        for file in [*entry.get("deps", []), *entry.get("outs", [])]:
            path = file["path"]
            found = _md5(commit, path, tracked)
            if found is None and path not in uncached:
                found = made.get(path)
            if found is None and not any(path.startswith(f"{out}/") for out in made):
                raise ReportError(f"{path}, which {name} names, is missing")
            if found not in (None, file["md5"]):
                raise _stale(f"{path} is not the file of {name} in dvc.lock")


def _stale(reason: str) -> ReportError:
    return ReportError(f"{reason}: run `dvc repro` and commit what it changes")


def _names(entries: list[str | dict[str, Any]]) -> set[str]:
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def _md5(commit: str, path: str, tracked: list[str]) -> str | None:
    """The hash that DVC gives a file or folder, None where git has neither."""
    if path in tracked:
        return _hashed(_bytes(commit, path))
    files = [PurePosixPath(file) for file in tracked if file.startswith(f"{path}/")]
    if not files:
        return None
    listed = [
        {
            "md5": _hashed(_bytes(commit, file.as_posix())),
            "relpath": file.relative_to(path).as_posix(),
        }
        for file in sorted(files)
    ]
    return _hashed(json.dumps(listed, sort_keys=True).encode()) + ".dir"


def _hashed(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@functools.cache
def _bytes(commit: str, path: str) -> bytes:
    try:
        return _git("cat-file", "blob", f"{commit}:{path}")
    except ReportError:
        raise ReportError(f"{path} is missing") from None


def _text(commit: str, path: str) -> str:
    try:
        return _bytes(commit, path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReportError(f"{path} is broken: {error}") from error


def _mapping(commit: str, path: str) -> dict[str, Any]:
    """Reads a YAML file, or a JSON file, which is YAML too."""
    try:
        value = yaml.load(_text(commit, path), _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ReportError(f"{path} is broken: {error}") from error
    if not isinstance(value, dict):
        raise ReportError(f"{path} is broken: no mapping")
    return value


def _metrics(commit: str, path: str) -> dict[str, float]:
    try:
        leaves = _leaves(json.loads(_text(commit, path)))
    except ValueError as error:
        raise ReportError(f"{path} is broken: {error}") from error
    numbers = {key: value for key, value in leaves if type(value) in (int, float)}
    if not numbers:
        raise ReportError(f"{path} has no metrics")
    return numbers


def _predictions(commit: str, path: str) -> Rows:
    rows = list(csv.DictReader(io.StringIO(_text(commit, path))))
    if not rows or not all(r.get("actual") and r.get("predicted") for r in rows):
        raise ReportError(f"{path} has no rows, or a row without actual or predicted")
    by_image = {row["filename"]: row for row in rows}
    if len(by_image) < len(rows):
        raise ReportError(f"{path} has an image twice")
    return by_image


def _losses(commit: str, path: str) -> list[float]:
    table = io.StringIO(_text(commit, f"{path}/plots/metrics/loss.tsv"))
    return [float(row["loss"]) for row in csv.DictReader(table, delimiter="\t")]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
