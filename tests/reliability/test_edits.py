"""Edits while DVC runs a stage: it fails, and dvc.lock never records what the stage did not use."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.core.test_files import contents
from tests.test_pipeline import STAGES, Repository, reproduced, status

__all__ = ["reproduced"]  # a fixture

YAML = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
BUILD = "build_ascii_tarball"

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


@pytest.fixture(scope="module")
def shared(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edits")
    (folder / "sitecustomize.py").write_text(EDITOR)
    shutil.copytree(reproduced, folder / "repository")
    return folder


@pytest.fixture
def repository(shared: Path) -> Iterator[Repository]:
    """One repository for all tests of this module, restored after each."""
    edits = shared / "edits"
    repository = Repository(
        shared / "repository", PYTHONPATH=str(shared), EDITS=str(edits), EVENT="tempfile.mkdtemp"
    )
    yield repository
    shutil.rmtree(edits, ignore_errors=True)
    repository.git("checkout", "--quiet", ".")
    repository.git("clean", "-fdqx", "letterpress", "stages")
    repository.run("dvc", "checkout", "--quiet")


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


@pytest.mark.parametrize("name", STAGES)
def test_edits_of_params_code_and_data_fail_every_stage(repository: Repository, name: str) -> None:
    stage, _, item = name.partition("@")
    entry = yaml.safe_load(json.dumps(YAML[stage].get("do", YAML[stage])).replace("${item}", item))
    key, code = entry["params"][-1], [f"stages/{stage}.py", "letterpress/core/files.py"]
    edits = Path(repository.environment["EDITS"])
    for path in code:
        edit_later(repository, path, new=COMMENT)
    edit_later(repository, "params.yaml")
    set_param(edits / "params.yaml", key, "edited")
    data = [dep for dep in entry["deps"] if dep.startswith("data/")][:1]
    if data:
        dep = repository.folder / data[0]
        path = next(file for file in [dep, *dep.rglob("*")] if file.is_file())
        data = [path.relative_to(repository.folder).as_posix()]
        edit_later(repository, data[0])  # another file with the same bytes
    before = recorded(repository)
    said = run(repository, name)
    names = ", ".join(sorted([*data, *code, f"params.yaml: {key}"]))
    assert f"error: {names} changed while the stage ran. Run `dvc repro` again\n" in said
    assert recorded(repository) == before
    for out in entry["outs"]:
        assert not (repository.folder / (out if isinstance(out, str) else next(iter(out)))).exists()


def set_param(path: Path, key: str, value: object) -> None:
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    section, _, name = key.rpartition(".")
    (params[section] if section else params)[name] = value
    path.write_text(yaml.safe_dump(params), encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("params.yaml", b"data_seed: 12345", b"data_seed: 777"),
        ("params.yaml", b"seed: 12345", b"seed: [777"),
        ("stages/build_ascii_tarball.py", b"", COMMENT),
        ("letterpress/ascii_letter/drawing.py", b"", COMMENT),
        ("letterpress/ascii_letter/typefaces.csv", b"", b""),  # saved again
        ("letterpress/ascii_letter/new.csv", b"", b"\n"),
    ],
)
def test_one_edit_suffices(repository: Repository, path: str, old: bytes, new: bytes) -> None:
    before = recorded(repository)
    edit_later(repository, path, old, new)
    said = run(repository, BUILD)
    assert re.search(f"\nerror: {path}.*( changed while the stage ran|not readable)", said)
    assert recorded(repository) == before


def test_the_next_run_uses_the_edit(repository: Repository) -> None:
    edit_later(repository, "params.yaml", b"data_seed: 12345", b"data_seed: 777")
    repository.environment["EVENT"] = "os.rename"  # of the output: after its last check
    raw, before = repository.folder / "data/ascii_letter/raw", recorded(repository)
    letters = contents(raw)
    run(repository, BUILD)
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
    try:
        said = run(repository, BUILD)
    finally:
        data.unlink()
        (tmp_path / "elsewhere").rename(data)
    assert "error: data: DVC keeps no outputs in a symbolic link (got one to " in said
