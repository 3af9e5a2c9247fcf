"""Edits while DVC runs a stage: it fails, and dvc.lock never records what the stage did not use."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

import pytest
import yaml

from letterpress.core.config import STANDARD
from tests.conftest import ROOT
from tests.core.test_files import contents
from tests.test_pipeline import RUN_STAGES, STAGES, Repository, reproduced, status

__all__ = ["reproduced"]  # a fixture

YAML = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
BUILD = "build_ascii_tarball"
Fail = Callable[[str], str]

# Moves the files in EDITS into the clone when a stage begins (EVENT) to build its first output.
EDITOR = """
import os, pathlib, sys
edits = pathlib.Path(os.environ["EDITS"])

def edit(event, arguments):
    if event == os.environ["EVENT"] and ".building-" in arguments[0]:
        for path in list(edits.rglob("*")):
            if path.is_file():
                path.replace(path.relative_to(edits))

if "DVC_STAGE" in os.environ:
    sys.addaudithook(edit)
"""


@pytest.fixture
def repository(reproduced: Path, tmp_path: Path) -> Repository:
    """A copy of the reproduced repository whose stages meet the edits that a test prepares."""
    (tmp_path / "sitecustomize.py").write_text(EDITOR)
    folder = shutil.copytree(reproduced, tmp_path / "repository")
    edits = str(tmp_path / "edits")
    return Repository(folder, PYTHONPATH=str(tmp_path), EDITS=edits, EVENT="tempfile.mkdtemp")


@pytest.fixture
def fail(repository: Repository, reproduced: Path) -> Iterator[Fail]:
    """Runs a stage that must fail and make no output; returns its line on standard error.

    Then all files are restored, except new ones.
    """
    command = [sys.executable, "-c", RUN_STAGES]
    options: Any = {"cwd": repository.folder, "text": True, "stdout": DEVNULL}
    options["env"] = repository.environment | {"DVC_STAGE": ""}
    with Popen(command, stdin=PIPE, stderr=PIPE, **options) as process:

        def run(name: str) -> str:
            entries = declared(name)["outs"]
            names = [out if isinstance(out, str) else next(iter(out)) for out in entries]
            outs = [repository.folder / out for out in names]
            for out in outs:  # as DVC does
                shutil.rmtree(out) if out.is_dir() else out.unlink()
            print(name, STAGES[name], file=process.stdin, flush=True)
            said = list(islice(process.stderr or (), 2))
            assert said[1:] == ["exit 1\n"], said
            assert not any(out.exists() for out in outs)
            shutil.copytree(reproduced, repository.folder, dirs_exist_ok=True)
            return str(said[0])

        yield run


def edit_later(repository: Repository, path: str, old: bytes = b"", new: bytes = b"") -> None:
    """Prepares an edit of one place in a file; if the file is new, `new` is all of it."""
    file, edits = repository.folder / path, Path(repository.environment["EDITS"])
    content = file.read_bytes() if file.exists() else b""
    assert old in content
    (edits / path).parent.mkdir(parents=True, exist_ok=True)
    (edits / path).write_bytes(content.replace(old, new, 1) if old else content + new)


def run(repository: Repository, stage: str, code: int = 255) -> str:
    """Runs a stage whatever its state; returns what it prints."""
    return repository.run("dvc", "repro", "--single-item", "--force", stage, code=code)


def recorded(repository: Repository) -> tuple[bytes, set[str]]:
    """Returns dvc.lock, and the names of the entries of the run cache."""
    runs = contents(repository.folder / ".dvc/cache/runs")
    return (repository.folder / "dvc.lock").read_bytes(), {*runs}


COMMENT = b"# edited\n"


@pytest.mark.long
def test_edits_of_params_code_and_data_fail_every_stage(repository: Repository, fail: Fail) -> None:
    for name in STAGES:
        names = edit_all_later(repository, name)
        remedy = "changed while the stage ran. Run `dvc repro` again"
        assert fail(name) == f"error: {', '.join(names)} {remedy}\n", name


def declared(name: str) -> dict[str, Any]:
    """Returns what dvc.yaml declares for a stage."""
    stage, _, item = name.partition("@")
    text = json.dumps(YAML[stage].get("do", YAML[stage])).replace("${item}", item)
    entry: dict[str, Any] = yaml.safe_load(text)
    return entry


def edit_all_later(repository: Repository, name: str) -> list[str]:
    """Prepares edits of a stage's code, params and data; returns what the stage then reports."""
    entry, module = declared(name), STAGES[name].split()[0]
    key, code = entry["params"][-1], [f"{module.replace('.', '/')}.py", "letterpress/core/files.py"]
    for path in code:
        edit_later(repository, path, new=COMMENT)
    edit_later(repository, "params.yaml")
    set_param(Path(repository.environment["EDITS"], "params.yaml"), key, "edited")
    data = [dep for dep in entry["deps"] if dep.startswith("data/")][:1]
    if data:
        dep = repository.folder / data[0]
        path = next(file for file in [dep, *dep.rglob("*")] if file.is_file())
        data = [path.relative_to(repository.folder).as_posix()]
        edit_later(repository, data[0])  # another file with the same bytes
    return sorted([*data, *code, f"params.yaml: {key}"])


def set_param(path: Path, key: str, value: object) -> None:
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    section, _, name = key.rpartition(".")
    (params[section] if section else params)[name] = value
    path.write_text(yaml.safe_dump(params), encoding="utf-8")


def test_one_edit_suffices(repository: Repository, fail: Fail) -> None:
    for path, old, new in (
        ("params.yaml", b"data_seed: 12345", b"data_seed: 777"),
        ("params.yaml", b"seed: 12345", b"seed: [777"),
        ("stages/build_ascii_tarball.py", b"", COMMENT),
        ("letterpress/ascii_letter/drawing.py", b"", COMMENT),
        ("letterpress/ascii_letter/typefaces.csv", b"", b""),  # saved again
        ("letterpress/ascii_letter/new.csv", b"", b"\n"),
    ):
        edit_later(repository, path, old, new)
        assert re.match(f"error: {path}.*( changed while the stage ran|not readable)", fail(BUILD))


@pytest.mark.long
def test_an_edit_of_a_custom_architecture_is_noticed(repository: Repository, fail: Fail) -> None:
    shutil.copy(repository.folder / STANDARD, repository.folder / "own.py")
    set_param(repository.folder / "params.yaml", "architecture", "own.py")
    edit_later(repository, "own.py", new=COMMENT)
    assert fail("train_mnist").startswith("error: own.py changed while the stage ran")


@pytest.mark.long
def test_the_next_run_uses_the_edit(repository: Repository) -> None:
    edit_later(repository, "params.yaml", b"data_seed: 12345", b"data_seed: 777")
    repository.environment["EVENT"] = "os.rename"  # of the output: after its last check
    raw, before = repository.folder / "data/ascii_letter/raw", recorded(repository)
    letters = contents(raw)
    run(repository, BUILD)
    assert recorded(repository) == before
    assert not raw.exists()
    repository.run("dvc", "repro", BUILD)
    assert contents(raw) != letters
    assert recorded(repository)[0] != before[0]
    assert BUILD not in status(repository)


def test_what_the_stage_does_not_use_may_be_edited(repository: Repository) -> None:
    edit_later(repository, "params.yaml", b"n_epochs: 2", b"# not of this stage\nn_epochs: 9")
    for path in ("letterpress/web/export.py", "letterpress/core/new.py", f"stages/.{BUILD}.py.swp"):
        edit_later(repository, path, new=COMMENT)
    edit_later(repository, f"stages/{BUILD}.py")  # saved without a change
    run(repository, BUILD, code=0)
    assert BUILD not in status(repository)


def test_a_symlinked_data_folder_is_refused_before_the_work(
    repository: Repository, tmp_path: Path
) -> None:
    data = repository.folder / "data"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    said = run(repository, BUILD)
    assert "error: data: DVC keeps no outputs in a symbolic link (got one to " in said
