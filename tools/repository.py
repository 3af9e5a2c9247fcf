"""The git repository here: its commits, clones of them, and DVC experiments in such clones."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from letterpress.core.errors import PipelineError


def git(*words: str) -> str:
    """Returns what a git command prints, stripped. Raises a PipelineError if it fails."""
    done = subprocess.run(["git", *words], capture_output=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise PipelineError(f"git {' '.join(words)}: {reason}")
    return done.stdout.decode(errors="replace").strip()


def find_commit(name: str) -> str:
    """Returns the hash of a commit. Raises a PipelineError if it is missing."""
    try:
        # Without --end-of-options, a name like --all would be an option.
        return git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
    except PipelineError as error:
        remedy = "See `git log`, or fetch the history if the clone is shallow"
        raise PipelineError(f"{name}: no such commit ({error}). {remedy}") from error


def is_edited() -> bool:
    """Returns whether files that git tracks have uncommitted changes."""
    return bool(git("status", "--porcelain", "--untracked-files=no"))


def find_head() -> str:
    """Returns the hash of HEAD. Uncommitted changes are a PipelineError: they would not be run."""
    if is_edited():
        raise PipelineError("workspace: uncommitted changes. Commit them")
    return find_commit("HEAD")


def read_values(commit: str, path: str) -> dict[str, Any]:
    """Returns the values in a JSON or YAML file of a commit, {} without the file."""
    if not git("ls-tree", commit, path):
        return {}
    return dict(YAML(typ="safe").load(git("show", f"{commit}:{path}")))


def make_project(root: Path) -> None:
    """Makes a folder a project of DVC without git. DVC writes nothing outside of it."""
    (root / ".dvc").mkdir()
    options = "no_scm = true", "analytics = false", "check_update = false"
    lines = "[core]", *options, f"site_cache_dir = {root / '.dvc/site'}"
    (root / ".dvc/config").write_text("\n".join(lines), encoding="utf-8")


def clone(folder: str, commit: str = "HEAD") -> None:
    """Clones the repository here. The clone shares its cache, to save disk space."""
    cache = str(Path(".dvc/cache").resolve())
    git("clone", "--quiet", "--no-checkout", ".", folder)
    # Not `clone --branch`: the commit may be on no branch.
    git("-C", folder, "checkout", "--quiet", "--detach", commit)
    subprocess.run(["dvc", "cache", "dir", "--quiet", "--local", cache], cwd=folder, check=True)


def run_experiment(commit: str, name: str, stages: Sequence[str], params: dict[str, Any]) -> str:
    """Runs stages and all that they need, unless the commit has the experiment already.

    Returns its git reference.
    """
    experiment = f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"
    if not git("for-each-ref", experiment):
        changes = [f"--set-param={key}={value}" for key, value in params.items()]
        with tempfile.TemporaryDirectory(prefix=f"letterpress-{name}-") as folder:
            clone(folder, commit)
            run = ["dvc", "exp", "run", "--name", name, *changes, *stages]
            subprocess.run(run, cwd=folder, check=True)
            # Without outputs: they are in the shared cache already.
            push = ["dvc", "exp", "push", "--quiet", "--no-cache", "origin", name]
            subprocess.run(push, cwd=folder, check=True)
    return experiment
