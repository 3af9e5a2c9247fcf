from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stages.mnist.files import replacing, write_csv, write_json
from tests.conftest import ROOT

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")


def contents(folder: Path) -> dict[str, bytes]:
    """Everything below a folder: the bytes of each file by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_file_appears_with_its_folders(tmp_path: Path) -> None:
    with replacing(tmp_path / "data" / "mnist" / "a.txt") as path:
        path.write_text("new")
    assert contents(tmp_path) == {"data/mnist/a.txt": b"new"}


def test_a_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as path:
        path.write_text("new")
        assert target.read_text() == "old"
    assert contents(tmp_path) == {"a.txt": b"new"}


def test_the_file_itself_is_moved_so_that_it_appears_at_once(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as path:
        path.write_text("new")
        built = path.stat().st_ino
    assert (tmp_path / "a.txt").stat().st_ino == built


def test_a_folder_takes_the_place_of_an_older_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "raw"
    target.mkdir()
    (target / "old").write_text("old")
    with replacing(target) as path:
        path.mkdir()
        (path / "new").write_text("new")
    assert contents(tmp_path) == {"raw/new": b"new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_file_of_a_block_that_fails_is_not_left(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(error), replacing(target) as path:
        path.write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_fails_leaves_an_older_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError), replacing(target) as path:
        path.write_text("half")
        raise ValueError
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_a_block_that_fails_leaves_an_older_folder_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "raw"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(ValueError), replacing(target) as path:
        path.mkdir()
        (path / "new").write_text("half")
        raise ValueError
    assert contents(tmp_path) == {"raw/old": b"old"}


def test_a_block_that_writes_nothing_fails_and_leaves_an_older_folder(tmp_path: Path) -> None:
    target = tmp_path / "raw"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(FileNotFoundError), replacing(target):
        pass
    assert contents(tmp_path) == {"raw/old": b"old"}


def test_the_path_to_write_at_has_the_name_of_the_target(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.weights.h5") as path:
        assert path.name == "a.weights.h5"
        assert not path.exists()
        path.write_text("new")


def test_a_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    with replacing(tmp_path / "a.txt") as path:
        path.write_text("new")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_json_is_indented_and_ends_with_a_line(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {"loss": 0.5, "n": 3})
    text = (tmp_path / "metrics.json").read_text()
    assert text == '{\n  "loss": 0.5,\n  "n": 3\n}\n'


def test_json_keeps_six_digits_of_a_float(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {"third": 1 / 3, "big": 2_000_000 / 3})
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert values == {"third": 0.333333, "big": 666666.666667}


def test_json_keeps_six_digits_of_a_float_within_another_value(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {"outer": {"inner": {"third": 1 / 3}}})
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert values == {"outer": {"inner": {"third": 0.333333}}}


def test_a_table_is_a_header_and_rows_with_four_digits_of_a_float(tmp_path: Path) -> None:
    rows = [("a,b", 1 / 3, 7), ("é", 0.5, True)]
    write_csv(tmp_path / "table.csv", ("name", "share", "n"), rows)
    expected = 'name,share,n\n"a,b",0.3333,7\né,0.5,True\n'
    assert (tmp_path / "table.csv").read_bytes() == expected.encode()


def test_a_table_that_cannot_be_written_leaves_the_older_file(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    write_csv(target, ("n",), [(1,)])
    before = contents(tmp_path)
    with pytest.raises(ZeroDivisionError):
        write_csv(target, ("n",), ((1 // n,) for n in (1, 0)))
    assert contents(tmp_path) == before


def test_json_that_cannot_be_written_leaves_the_older_file(tmp_path: Path) -> None:
    target = tmp_path / "metrics.json"
    write_json(target, {"loss": 0.5})
    before = contents(tmp_path)
    with pytest.raises(TypeError):
        write_json(target, {"loss": object()})
    assert contents(tmp_path) == before


ENTER_AND_DIE = """
import os, signal, sys
from pathlib import Path
from stages.mnist.files import replacing
with replacing(Path(sys.argv[1])) as path:
    path.mkdir()
    (path / "half").write_text("half")
    if sys.argv[2] == "wait":
        print("writing", flush=True)
        sys.stdin.read()
    if sys.argv[2] == "between":
        Path(sys.argv[1]).rename(path.parent / ".older")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def die(target: Path, when: str) -> None:
    command = [sys.executable, "-c", ENTER_AND_DIE, str(target), when]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL


@on_posix
def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "raw"
    die(target, "writing")
    (half,) = tmp_path.iterdir()
    with replacing(target) as path:
        assert not half.exists()
        path.write_text("new")
    assert contents(tmp_path) == {"raw": b"new"}


@on_posix
def test_an_older_folder_that_a_killed_process_moved_away_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "raw"
    target.mkdir()
    (target / "old").write_text("old")
    die(target, "between")
    assert not target.exists()
    with replacing(target) as path:
        assert contents(target) == {"old": b"old"}
        path.mkdir()
    assert list(tmp_path.rglob("*")) == [target]


@on_posix
def test_what_a_living_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "raw"
    with subprocess.Popen(
        [sys.executable, "-c", ENTER_AND_DIE, str(target), "wait"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        before = contents(tmp_path)
        with replacing(target) as path:
            path.write_text("new")
        assert contents(tmp_path) == before | {"raw": b"new"}


def test_a_users_own_hidden_folder_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / ".raw.backup"
    mine.mkdir()
    with replacing(tmp_path / "raw") as path:
        path.write_text("new")
    assert mine.is_dir()
