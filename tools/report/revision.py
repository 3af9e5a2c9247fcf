"""Reads the results of one commit from git alone: no cache, no remote, no network."""

import csv
import functools
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from dvc.repo import Repo

from letterpress.core.errors import PipelineError
from letterpress.core.params import read_params
from tools.metrics import flatten, list_metrics

QUIET = "[core]\nno_scm = true\nanalytics = false\ncheck_update = false\n"
"""DVC without git, and without processes that outlive a command."""
T = TypeVar("T")
Stages = dict[str, dict[str, Any]]
Rows = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Revision:
    """The params, stages and results of a commit."""

    commit: str  # the full hash
    params: dict[str, Any]  # by path, "mnist.learning_rate"
    stages: Stages  # of dvc.lock
    hashes: dict[str, str]  # MD5 in dvc.lock, by file or folder
    metrics: dict[tuple[str, str], float]  # by file and key
    predictions: dict[str, Rows]  # by file and image, with "actual" and "predicted"
    curves: dict[str, list[float]]  # the training loss of each epoch, by pipeline


def read_revision(name: str) -> Revision:
    """Reads a commit of the repository here. A stale or damaged one is a PipelineError."""
    try:
        return _read(_resolve(name))
    except PipelineError as error:
        raise PipelineError(f"{name}: {' '.join(str(error).split())}") from error


def git(*words: str) -> bytes:
    """Returns what a git command prints. Raises a PipelineError if it fails."""
    done = subprocess.run(["git", *words], capture_output=True, check=False)
    if done.returncode:
        raise PipelineError(f"git {' '.join(words)}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def _resolve(name: str) -> str:
    shallow = git("rev-parse", "--is-shallow-repository").strip() == b"true"
    try:
        words = "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
        return git(*words).decode().strip()
    except PipelineError:
        remedy = "The clone is shallow: fetch its history" if shallow else "See `git log`"
        raise PipelineError(f"no such commit. {remedy}") from None


@functools.cache
def _read(commit: str) -> Revision:
    top = git("rev-parse", "--show-toplevel").decode().rstrip("\n")
    archive = io.BytesIO(git("-C", top, "archive", commit))
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(fileobj=archive) as tar:
                # Python 3.11.3 and older have no filters. A link could lead out of the folder, and
                # the settings of DVC are not the commit's to make.
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                files = [m for m in tar if not m.issym() and not m.name.startswith(".dvc/")]
                tar.extractall(folder, files)  # noqa: S202  # git wrote it
            revision = read_folder(Path(folder), commit)
            _check_lock(Path(folder), revision.stages)
            return revision
        except (PipelineError, tarfile.TarError) as error:
            raise PipelineError(str(error).replace(f"{folder}/", "")) from error
        except (AttributeError, KeyError, TypeError) as error:
            reason = f"unexpected form ({error!r}). Run `dvc repro`"
            raise PipelineError(f"dvc.yaml or dvc.lock: {reason}") from error


def read_folder(root: Path, commit: str = "") -> Revision:
    """Reads the files of a commit from a folder. Raises a PipelineError."""
    params, pipeline, lock = (
        read_params(root / name) for name in ("params.yaml", "dvc.yaml", "dvc.lock")
    )
    if not list_metrics(pipeline):
        raise PipelineError("dvc.yaml: no metrics. List the metric files under `metrics:`")
    metrics = {path: _parse(root / path, _numbers) for path in list_metrics(pipeline)}
    deps, outs = (
        {
            file["path"]: file["md5"]
            for stage in lock["stages"].values()
            for file in stage.get(kind, [])
        }
        for kind in ("deps", "outs")
    )
    return Revision(
        commit=commit,
        params=dict(flatten(params)),
        stages=lock["stages"],
        hashes=deps | outs,
        metrics={(path, key): metrics[path][key] for path in metrics for key in metrics[path]},
        predictions={
            path: _parse(root / path, _predictions)
            for path in sorted(outs)
            if PurePosixPath(path).match("predictions*.csv")
        },
        curves={
            path.split("/")[1]: _parse(root / path / "plots/metrics/loss.tsv", _losses)
            for path in sorted(outs)
            if path.endswith("/curves")
        },
    )


def _check_lock(root: Path, stages: Stages) -> None:
    """Fails unless dvc.lock belongs to the code, the params and the results beside it.

    It asks DVC. As the folder has no cache, outputs may be missing, but no file may differ. The
    commit's own code does not run: -I keeps its folder out of Python's path.
    """
    (root / ".dvc").mkdir(exist_ok=True)
    config = QUIET + f"site_cache_dir = {root / '.dvc/site'}\n"
    (root / ".dvc/config.local").write_text(config, encoding="utf-8")
    command = [sys.executable, "-I", "-m", "dvc", "repro", "--dry", "--allow-missing"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    if done.returncode or "Running stage" in printed or "up to date" not in printed:
        changed = re.search(r"(?:Running stage|failed to reproduce) '(.+?)'", printed)
        reason = f"stage {changed[1]} changed" if changed else f"DVC reports: {done.stderr}"
        raise _stale(reason)
    _check_files(root, stages)


def _check_files(root: Path, stages: Stages) -> None:
    """Fails for what `--allow-missing` allows: an output that is not in dvc.lock, missing code."""
    with Repo(root) as repo:
        declared = {stage.name: stage for stage in repo.index.stages if not stage.is_data_source}
        # Of data that `dvc add` tracks, def_path starts at the folder of the .dvc file.
        outs = [
            Path(os.path.relpath(out.fs_path, repo.root_dir)).as_posix() for out in repo.index.outs
        ]
    if gone := stages.keys() - declared.keys():
        raise _stale(f"dvc.yaml has no stage {', '.join(sorted(gone))}")
    for name, stage in declared.items():
        for out in stage.outs:
            if not out.hash_info:
                raise _stale(f"it lacks {out.def_path} of stage {name}")
        for path in (PurePosixPath(dep.def_path) for dep in stage.deps):
            if not (root / path).exists() and not any(map(path.is_relative_to, outs)):
                raise PipelineError(f"{path}: no such file, but stage {name} depends on it")


def _stale(reason: str) -> PipelineError:
    remedy = "Run `dvc repro` and commit what it changes, or name another commit"
    return PipelineError(f"dvc.lock is stale: {reason}. {remedy}")


def _parse(path: Path, parse: Callable[[str], T]) -> T:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (csv.Error, OSError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise PipelineError(f"{path}: not readable ({error!r}). Run `dvc repro`") from error


def _numbers(text: str) -> dict[str, float]:
    leaves = dict(flatten(json.loads(text)))
    numbers = {key: value for key, value in leaves.items() if type(value) in (int, float)}
    if not numbers:
        raise ValueError("no metrics")
    return numbers


def _predictions(text: str) -> Rows:
    """Returns the rows whose image shows a class. The accuracy leaves out "none"."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or not all(row.get("actual") and row.get("predicted") for row in rows):
        raise ValueError("no rows, or a row without actual or predicted")
    by_image = {row["filename"]: row for row in rows}
    if len(by_image) < len(rows):
        raise ValueError("duplicate filename")
    return {name: row for name, row in by_image.items() if row["actual"] != "none"}


def changes(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> list[tuple[Any, Any, Any]]:
    """Returns the keys whose values differ, sorted, with both values; None if one side lacks it."""
    keys = sorted(before.keys() | after.keys())
    rows = [(key, before.get(key), after.get(key)) for key in keys]
    return [row for row in rows if row[1] != row[2]]


def _losses(text: str) -> list[float]:
    return [float(row["loss"]) for row in csv.DictReader(io.StringIO(text), delimiter="\t")]
