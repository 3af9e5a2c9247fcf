from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stages.mnist.errors import PipelineError, run
from stages.mnist.files import locked
from tests.conftest import ROOT
from tests.mnist.test_files import contents


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PipelineError("params.yaml: seed is missing"), "params.yaml: seed is missing"),
        (FileNotFoundError(2, "No such file or directory", "data/x"), "data/x"),
        (PermissionError(13, "Permission denied", "data/x"), "Permission denied"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
)
def test_an_expected_failure_is_one_line_and_code_1(
    error: Exception, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        run(main, alone=False)
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (1, "")
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1


def test_an_interruption_is_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run(main, alone=False)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main, alone=False)


def test_a_stage_that_succeeds_runs_once_and_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = []
    run(lambda: calls.append("run"), alone=False)
    assert calls == ["run"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_stage_waits_for_another_run_of_it_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []
    is_held = threading.Event()

    def first() -> None:
        with locked(Path(__file__)):
            is_held.set()
            time.sleep(0.2)
            order.append("first")

    other = threading.Thread(target=first)
    other.start()
    is_held.wait()
    run(lambda: order.append("second"))
    other.join()
    assert order == ["first", "second"]
    assert capsys.readouterr().err.startswith("another run of this stage is not over")


ENDING = """
import threading, time
from stages.mnist.errors import run

def work_on():
    threading.main_thread().join()
    print("ending", flush=True)
    time.sleep(1)

run(threading.Thread(target=work_on).start, alone=False)
"""


def test_ctrl_c_after_the_stage_is_done_changes_nothing() -> None:
    assert said_after_ctrl_c(ENDING, "ending") == (0, "")


IN_TENSORFLOW = """
import time
from pathlib import Path
from stages.mnist.backend import tf
from stages.mnist.errors import run
from stages.mnist.files import replacing

class AskedForItsClass:
    @property
    def __class__(self):
        print("in TensorFlow's C++, which ignores exceptions here", flush=True)
        time.sleep(60)

def main():
    with replacing(Path("made")) as path:
        path.write_text("half")
        tf.nest.flatten(AskedForItsClass(), expand_composites=True)

run(main, alone=False)
"""


def test_ctrl_c_in_the_midst_of_tensorflow_ends_with_one_line_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    (tmp_path / "made").write_text("before", encoding="utf-8")
    code, said = said_after_ctrl_c(IN_TENSORFLOW, "in TensorFlow", tmp_path)
    assert (code, said) == (130, "interrupted\n")
    assert contents(tmp_path) == {"made": b"before"}


IMPORTING = """
from stages.mnist.errors import run

def main():
    import stages.mnist.backend

run(main, alone=False)
"""


def test_ctrl_c_while_tensorflow_is_imported_is_not_silent(tmp_path: Path) -> None:
    """What an import writes to the standard error is held back."""
    (tmp_path / "keras").mkdir()
    slow = 'import time\nprint("importing", flush=True)\ntime.sleep(60)\n'
    (tmp_path / "keras" / "__init__.py").write_text(slow, encoding="utf-8")
    assert said_after_ctrl_c(IMPORTING, "importing", tmp_path) == (130, "interrupted\n")


def said_after_ctrl_c(program: str, ready: str, folder: Path = ROOT) -> tuple[int, str]:
    """Presses Ctrl-C when the program says it is ready, and returns its code and what it says then."""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(ready)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    return process.returncode, said
