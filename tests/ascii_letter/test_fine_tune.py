from __future__ import annotations

from pathlib import Path

import pytest

from stages.ascii_letter import fine_tune as stage
from stages.mnist.errors import run
from tests.conftest import Params, write_params
from tests.mnist.test_files import contents


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": True}, "learning_rate: Input should be a valid number, got True"),
        ({"learning_rate": -1}, "learning_rate: Input should be greater than 0, got -1"),
        ({"epochs": 3}, "epochs is not a known key: did you mean n_epochs?"),
        ({"n_epochs": None}, "n_epochs: Input should be a valid integer, got None"),
    ],
)
def test_a_wrong_param_of_the_root_is_told_in_one_line_before_any_work(
    project: Path,
    tiny_params: Params,
    change: Params,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_params(project, tiny_params | change)
    with pytest.raises(SystemExit) as stop:
        run(stage.main)
    assert stop.value.code == 1
    assert capsys.readouterr() == ("", f"error: params.yaml: {message}\n")
    assert set(contents(project)) == {"params.yaml"}
