from pathlib import Path
from typing import Any

import numpy as np
import pytest

from letterpress.core.tensorflow import keras
from letterpress.training import checkpoint
from letterpress.training.checkpoint import Checkpoint
from letterpress.training.workers import Strategy

BEST = [np.arange(6.0).reshape(2, 3), np.ones(12)]
HISTORY = [{"accuracy": 0.5, "loss": 1.25}, {"accuracy": 0.75, "loss": 0.1 + 0.2}]


def build() -> Any:
    """Builds a small compiled model whose weights, seeds and optimizer state are random."""
    model = keras.Sequential([keras.layers.Dense(2), keras.layers.Dropout(0.5)])
    model.compile("adam", loss="mse")
    model.train_on_batch(np.random.random((4, 3)), np.ones((4, 2)))
    return model


def values(model: Any) -> list[bytes]:
    metrics = {id(variable) for variable in model.metrics_variables}
    variables = [*model.variables, *model.optimizer.variables]
    return [np.asarray(v).tobytes() for v in variables if id(v) not in metrics]


@pytest.fixture(scope="module")
def saved() -> Any:
    return build()


@pytest.fixture
def path(tmp_path: Path, saved: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of two epochs that depends on the file "data" and on the code beside it."""
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "training/checkpoint.py"))
    for name in ("data", "code.py"):
        (tmp_path / name).write_text("one")
    state = opened(tmp_path / "training.npz", saved)
    state.best = BEST
    state.save(HISTORY)
    return tmp_path / "training.npz"


def opened(path: Path, model: Any, param: int = 1, n_workers: int = 1) -> Checkpoint:
    strategy = Strategy()
    strategy.n_workers = n_workers
    return Checkpoint(path, strategy, model, [param, path.parent / "data"])


def test_a_checkpoint_restores_all_variables_and_the_history(
    path: Path, saved: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build()
    assert values(model) != values(saved)
    state = opened(path, model)
    assert state.restore() == HISTORY
    assert [best.tolist() for best in state.best] == [best.tolist() for best in BEST]
    assert values(model) == values(saved)
    assert capsys.readouterr().out == f"{path}: resuming after epoch 2\n"
    opened(path, model).remove()
    assert opened(path, model).restore() == []


def test_a_checkpoint_that_does_not_fit_or_is_damaged_is_ignored(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def assert_ignored(reason: str, param: int = 1, n_workers: int = 1) -> None:
        assert opened(path, model, param, n_workers).restore() == []
        assert values(model) == before
        message = f"{path}: checkpoint ignored ({reason}): training from scratch\n"
        assert capsys.readouterr().out == message

    model = build()
    before = values(model)
    other = "different params, data, code or number of workers"
    assert_ignored(other, param=2)
    assert_ignored(other, n_workers=2)
    for name in ("data", "code.py"):
        (path.parent / name).write_text("two")
        assert_ignored(other)
        (path.parent / name).write_text("one")
    content = path.read_bytes()
    index = content.index(b"PK\x01\x02")
    flags, compression = index + 8, index + 10
    for place in (0, 150, flags, compression, len(content) - 10):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        assert_ignored("damaged")
    for length in (0, 400, len(content) - 30):
        path.write_bytes(content[:length])
        assert_ignored("damaged")
    path.write_bytes(content)
    assert opened(path, model).restore() == HISTORY
