from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from stages.mnist.errors import PipelineError, run
from stages.mnist.files import locked


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
        run(main)
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (1, "")
    assert err.startswith("error: ")
    assert words in err
    assert err.count("\n") == 1


def test_an_interruption_is_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run(main)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_a_stage_that_succeeds_runs_once_and_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = []
    run(lambda: calls.append("run"))
    assert calls == ["run"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_stage_waits_for_another_run_of_it_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []
    with locked(Path(__file__)):
        second = threading.Thread(target=run, args=[lambda: order.append("second")])
        second.start()
        second.join(0.2)
        order.append("first")
    second.join()
    assert order == ["first", "second"]
    assert capsys.readouterr().err.startswith("another run of this stage is not over")
