"""How a stage ends: silently, with one line (expected errors, Ctrl-C), or with a traceback."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from letterpress.core.errors import PipelineError
from letterpress.core.files import locked
from letterpress.core.interrupts import prepare
from letterpress.core.stage import run
from tests.conftest import ROOT
from tests.core.test_files import contents


def test_expected_errors_are_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    for error, code, line in (
        (PipelineError("params.yaml: seed is missing"), 1, "error: params.yaml: seed is missing\n"),
        (PermissionError(13, "Denied", "data/x"), 1, "error: [Errno 13] Denied: 'data/x'\n"),
        (PipelineError("a\x1b[31m\udcff: bad:\n  b"), 1, "error: a\\x1b[31m\\udcff: bad:\n  b\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ):

        def main(error: BaseException = error) -> None:
            raise error

        with pytest.raises(SystemExit) as ended:
            run(main, alone=False)
        assert (ended.value.code, *capsys.readouterr()) == (code, "", line)
    with pytest.raises(ZeroDivisionError):  # a bug keeps its traceback
        run(lambda: print(1 / 0))


def test_a_stage_that_succeeds_prints_nothing_even_after_a_late_ctrl_c(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = []
    run(lambda argument: calls.append(argument), "argument")
    signal.raise_signal(signal.SIGINT)
    assert calls == ["argument"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_stage_waits_for_an_older_run(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []
    with ExitStack() as older:
        older.enter_context(locked(Path(__file__)))
        older.callback(order.append, "older")
        threading.Timer(0.2, older.pop_all().close).start()
    run(lambda: order.append("newer"))
    assert order == ["older", "newer"]
    assert capsys.readouterr().err == "another run of this stage is still active: waiting\n"


def test_before_a_stage_runs_ctrl_c_or_a_missing_package_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # restored afterwards
    prepare()
    for error, start in (
        (KeyboardInterrupt(), "interrupted\n"),
        (ModuleNotFoundError(name="keras.ops"), f"error: {sys.executable}: package keras is not "),
        (ModuleNotFoundError(name="_lzma"), f"error: {sys.executable}: this Python was built "),
        (
            ImportError("libz.so.1: cannot open", name="PIL"),
            f"error: {sys.executable}: package PIL ",
        ),
        (ImportError("x.so: failed to map segment from shared object"), "error: not enough memory"),
        (MemoryError("Unable to allocate 1 TiB"), "error: not enough memory (Unable to"),
        (ImportError("cannot import name 'x'", name="letterpress.x"), "ImportError: cannot"),
        (ModuleNotFoundError("a bug", name="letterpress.x"), "ModuleNotFoundError: a bug\n"),
        (ValueError("a bug"), "ValueError: a bug\n"),
    ):
        sys.excepthook(type(error), error, None)
        assert capsys.readouterr().err.startswith(start)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


PROGRAM = """
from pathlib import Path
from letterpress.core.stage import run
from letterpress.core.files import replacing

def main():
    with replacing(Path("made")) as path:
        path.write_text("half")
        import letterpress.core.tensorflow

run(main, alone=False)
"""
SLOW_KERAS = """
import time
try:
    print("importing", flush=True)
    time.sleep(60)
except BaseException:
    pass  # as C++ code does that calls Python
time.sleep(60)
"""


def test_ctrl_c_inside_tensorflow_is_one_line_and_leaves_nothing_half_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "made").write_text("before")
    (tmp_path / "keras.py").write_text(SLOW_KERAS)
    before = contents(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-B", "-c", PROGRAM],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=50)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert contents(tmp_path) == before
