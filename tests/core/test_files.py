"""Outputs appear completely or not at all, whatever ends the process that writes them."""

import subprocess
import sys
import tempfile
from pathlib import Path
from signal import SIGKILL

import pytest

from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing, scratch, write_csv, write_json
from tests.conftest import ROOT

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of each file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write(path: Path, kind: str, text: str) -> None:
    """Writes a file, or a folder with a file of that name."""
    if kind == "folder":
        path.mkdir()
        path /= text
    path.write_text(text)


@pytest.fixture(params=["file", "folder"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file or folder to be replaced."""
    write(tmp_path / "a.weights.h5", request.param, "old")
    return tmp_path / "a.weights.h5"


def test_a_file_or_folder_is_replaced_at_the_end(older: Path) -> None:
    before, kind = contents(older.parent), "folder" if older.is_dir() else "file"
    with replacing(older) as path:
        assert (path.name, path.exists()) == (older.name, False)
        write(path, kind, "new")
        built = path.stat().st_ino
        assert contents(older.parent).items() > before.items()
    assert contents(older.parent).popitem()[1] == b"new"
    assert [*older.parent.iterdir()] == [older]
    assert older.stat().st_ino == built  # moved, not copied


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, FileNotFoundError])
def test_a_block_that_fails_leaves_what_was_there(older: Path, error: type[BaseException]) -> None:
    before = contents(older.parent)
    for target in (older, older.parent / "new"):
        with pytest.raises(error), replacing(target) as path:
            if error is not FileNotFoundError:  # raised if nothing was written
                path.write_text("half")
                raise error
    assert contents(older.parent) == before
    assert [*older.parent.iterdir()] == [older]


PROGRAM = """
import os, signal, sys
from pathlib import Path
from letterpress.core.files import replacing
target, action = Path(sys.argv[1]), sys.argv[2]
with replacing(target) as path:
    path.mkdir()
    (path / "half").write_text("half")
    if action == "move":
        target.rename(path.parent / ".older")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@on_posix
@pytest.mark.parametrize("action", ["write", "move"])
def test_the_next_process_restores_what_a_killed_one_left(tmp_path: Path, action: str) -> None:
    """A process may be killed while it writes, or after it has moved the older folder away."""
    target = tmp_path / "raw"
    write(target, "folder", "old")
    (tmp_path / ".raw.backup").mkdir()  # the user's own
    command = [sys.executable, "-c", PROGRAM, str(target), action]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -SIGKILL
    assert target.exists() == (action == "write")
    with replacing(target) as path:
        assert contents(tmp_path) == {"raw/old": b"old"}
        write(path, "file", "new")
    assert contents(tmp_path) == {"raw": b"new"}
    assert {path.name for path in tmp_path.iterdir()} == {"raw", ".raw.backup"}


KILLED = """
import os, signal, tempfile
from letterpress.core.files import scratch
with scratch():
    tempfile.mkstemp()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@on_posix
def test_the_temporary_files_of_a_killed_process_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    command = [sys.executable, "-c", KILLED]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -SIGKILL
    assert len(list(tmp_path.rglob("tmp/*"))) == 1
    with scratch(), scratch():
        (outer,) = tmp_path.iterdir()
        assert outer in Path(tempfile.mkdtemp()).parents
    assert list(tmp_path.iterdir()) == []


@on_posix
def test_what_is_being_written_is_not_taken_for_a_leftover(tmp_path: Path) -> None:
    with replacing(tmp_path / "raw") as first:
        first.write_text("first")
        with replacing(tmp_path / "raw") as second:
            second.write_text("second")
        assert contents(tmp_path)["raw"] == b"second"
    assert contents(tmp_path) == {"raw": b"first"}


def test_numbers_are_rounded_and_bad_values_leave_the_older_file(tmp_path: Path) -> None:
    metrics, table = tmp_path / "data/metrics.json", tmp_path / "table.csv"  # data/ is made
    write_json(metrics, {"n": 3, "inner": {"big": 2_000_000 / 3}})
    write_csv(table, ("name", "share", "n"), [("a,b", 1 / 3, 7), ("é", 0.5, True)])
    expected = {
        "data/metrics.json": b'{\n  "n": 3,\n  "inner": {\n    "big": 666666.666667\n  }\n}\n',
        "table.csv": 'name,share,n\n"a,b",0.3333,7\né,0.5,True\n'.encode(),
    }
    assert contents(tmp_path) == expected
    with pytest.raises(PipelineError, match="expected finite numbers"):
        write_json(metrics, {"loss": float("nan")})
    with pytest.raises(ZeroDivisionError):
        write_csv(table, ("n",), ((1 // n,) for n in (1, 0)))
    assert contents(tmp_path) == expected
    (tmp_path / "plain").write_text("")
    assert table.stat().st_mode == (tmp_path / "plain").stat().st_mode
