from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.mnist.backend import keras, tf
from stages.mnist.checkpoint import Checkpoint, fingerprint
from stages.mnist.dataset import WHOLE
from stages.mnist.workers import Workers

ALONE = Workers(WHOLE, (), tf.distribute.get_strategy())
HISTORY = [{"accuracy": 0.5, "loss": 1.25}, {"accuracy": 0.75, "loss": 0.1 + 0.2}]


def variables(value: float) -> list[Any]:
    return [keras.Variable(np.full((2, 3), value, np.float32)), keras.Variable([int(value)] * 2)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint of two epochs."""
    Checkpoint(tmp_path / "kept.npz", ALONE, variables(7.5), "same").save(HISTORY)
    return tmp_path / "kept.npz"


def test_what_was_kept_comes_back(path: Path) -> None:
    found = variables(0)
    kept = Checkpoint(path, ALONE, found, "same")
    assert kept.restore() == HISTORY
    assert kept.n_epochs == 2
    for own, expected in zip(found, variables(7.5), strict=True):
        np.testing.assert_array_equal(own, expected)
    kept.remove()
    assert not path.exists()


def refusal(path: Path, of: str, capsys: pytest.CaptureFixture[str]) -> str:
    found = variables(0)
    assert Checkpoint(path, ALONE, found, of).restore() == []
    assert not np.asarray(found[0]).any()
    return capsys.readouterr().out


def test_that_of_another_training_is_left_aside(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "of other params, records or workers" in refusal(path, "other", capsys)


@pytest.mark.parametrize("kept", [0, 10, 400, -30])
def test_a_damaged_one_is_left_aside(
    path: Path, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(path, "same", capsys).startswith(f"{path}: the checkpoint is damaged")


def test_without_one_the_training_begins_and_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(tmp_path / "missing.npz", "same", capsys) == ""


def test_without_a_path_nothing_is_kept(tmp_path: Path) -> None:
    kept = Checkpoint(None, ALONE, variables(0), "")
    kept.save(HISTORY)
    assert (kept.restore(), kept.n_epochs) == ([], 0)
    kept.remove()


def test_a_fingerprint_tells_params_and_contents_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    found = [fingerprint(p, f) for p in (["a"], ["b"]) for f in ([one], [other], [one, other])]
    assert len(set(found)) == 6
    assert fingerprint(["a"], [one]) == found[0]
