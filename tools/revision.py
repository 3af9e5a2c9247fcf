"""Reads the results of one commit from git alone: no cache, no remote, no network."""

import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.flatten import flatten

from letterpress.core.errors import PipelineError
from letterpress.core.params import read_params
from tools.repository import find_commit, git, make_project
from tools.results import read_metrics, read_rows, reading

Rows = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Revision:
    """The params, stages and results of a commit."""

    commit: str  # the full hash
    params: dict[str, Any]  # by path, "mnist.learning_rate"
    stages: dict[str, dict[str, Any]]  # of dvc.lock
    hashes: dict[str, str]  # MD5 in dvc.lock, by file or folder
    metrics: dict[tuple[str, str], float]  # by file and key
    predictions: dict[str, Rows]  # by file and image, with "actual" and "predicted"


def read_revision(name: str) -> Revision:
    """Reads a commit of the repository here. A stale or damaged one is a PipelineError."""
    commit, top = find_commit(name), git("rev-parse", "--show-toplevel")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        # From a zip file, links become files. The settings of DVC are not the commit's to make.
        paths = ".", ":(exclude,icase).dvc"
        git("-C", top, "archive", "--format=zip", f"--output={root / 'zip'}", commit, *paths)
        with zipfile.ZipFile(root / "zip") as archive:
            archive.extractall(root / "files")  # git wrote it
        try:
            revision = read_folder(root / "files", commit)
            if reason := next(_find_stale(root / "files", revision.stages), ""):
                remedy = "Run `dvc repro` and commit what it changes, or name another commit"
                raise PipelineError(f"dvc.lock is stale: {reason}. {remedy}")
        except PipelineError as error:
            raise PipelineError(f"{name}: {error}".replace(f"{root}/files/", "")) from error
    return revision


def read_folder(root: Path, commit: str = "") -> Revision:
    """Reads the files of a commit from a folder. Raises a PipelineError."""
    with reading(root / "dvc.lock"):
        stages = read_params(root / "dvc.lock")["stages"]
        files = [file for s in stages.values() for file in (*s.get("deps", []), *s.get("outs", []))]
        hashes = {file["path"]: file["md5"] for file in files}
    paths = [path for path in sorted(hashes) if PurePosixPath(path).match("predictions*.csv")]
    if not (metrics := read_metrics(root)):
        raise PipelineError("dvc.yaml: no metrics. List files under `metrics:`, run `dvc repro`")
    return Revision(
        commit=commit,
        params=flatten(read_params(root / "params.yaml")),
        stages=stages,
        hashes=hashes,
        metrics=metrics,
        predictions={path: _read_predictions(root / path) for path in paths},
    )


def _read_predictions(path: Path) -> Rows:
    """Returns the rows whose image shows a class. The accuracy leaves out "none"."""
    with reading(path):
        rows = read_rows(path)
        if not rows or not all(row.get("actual") and row.get("predicted") for row in rows):
            raise ValueError("no rows, or a row without actual or predicted")
        by_image = {row["filename"]: row for row in rows}
        if len(by_image) < len(rows):
            raise ValueError("duplicate filename")
    return {name: row for name, row in by_image.items() if row["actual"] != "none"}


def _find_stale(root: Path, locked: Mapping[str, Any]) -> Iterator[str]:
    """Yields what of dvc.lock does not belong to the code, the params and the results beside it.

    DVC compares them, as for `dvc repro --dry --allow-missing`: as the folder has no cache, outputs
    may be missing, but no file may differ. The commit's own code does not run.
    """
    make_project(root)
    try:
        with Repo(root) as repo, repo.lock:
            stages = {stage.name: stage for stage in repo.index.stages if not stage.is_data_source}
            # Of data that `dvc add` tracks, def_path starts at the folder of the .dvc file.
            outs = [Path(os.path.relpath(out.fs_path, repo.root_dir)) for out in repo.index.outs]
            for gone in sorted(locked.keys() - stages.keys()):
                yield f"dvc.yaml has no stage {gone}"
            for name, stage in stages.items():
                for out in stage.outs:
                    if not out.hash_info:
                        yield f"it lacks {out.def_path} of stage {name}"
                for path in (Path(dep.def_path) for dep in stage.deps):
                    if not (root / path).exists() and not any(map(path.is_relative_to, outs)):
                        yield f"{path}: no such file, but stage {name} depends on it"
                if stage.changed(allow_missing=True, upstream=repo.index.stages):
                    yield f"stage {name} changed"
    except DvcException as error:
        yield f"DVC reports: {' '.join(str(error).split())}"


def changes(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> list[tuple[Any, Any, Any]]:
    """Returns the keys whose values differ, sorted, with both values; None if one side lacks it."""
    keys = sorted(before.keys() | after.keys())
    rows = [(key, before.get(key), after.get(key)) for key in keys]
    return [row for row in rows if row[1] != row[2]]
