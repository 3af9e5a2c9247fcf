"""A project that is made up to its weights, and stages run in it as `python -m` runs them."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.ascii_letter import fine_tune
from stages.ascii_letter.build_tarball import RAW as LETTERS
from stages.ascii_letter.build_tarball import Letter, write_tarball
from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.write_tfrecords import main as write_letters
from stages.mnist import train
from stages.mnist.config import MnistConfig
from stages.mnist.fetch import RAW as DIGITS
from stages.mnist.model import build_classifier
from stages.mnist.shards import shard_paths
from stages.mnist.write_tfrecords import main as write_digit_records
from tests.ascii_letter.test_tarball import SIDE, encode
from tests.conftest import Params, write_digits, write_params
from tests.mnist.test_files import contents

N_PER_CLASS, N_UNSEEN = 8, 2
Refusal = Callable[..., str]


def letters(n_per_class: int, first: int) -> list[Letter]:
    """Images of noise of the classes a, b and c."""
    return [
        Letter(f"{name}/{i}.png", encode(first + 100 * label + i), "Lato", "Lato", "serif", "small")
        for i in range(n_per_class)
        for label, name in enumerate("abc")
    ]


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params) -> Path:
    folder = tmp_path_factory.mktemp("made")
    small = {"image_height": SIDE, "image_width": SIDE, "n_classes": 3}
    counts = {"n_train_samples": 18, "n_test_samples": 6, "n_unseen_per_class": N_UNSEEN}
    params = {**_tiny_params, "ascii_letter": {**_tiny_params["ascii_letter"], **small, **counts}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(folder, params)
        write_digits(DIGITS)
        write_digit_records()
        for name, drawn in (
            ("letters", letters(N_PER_CLASS, 0)),
            ("unseen", letters(N_UNSEEN, 500)),
        ):
            (LETTERS / name).mkdir(parents=True)
            write_tarball(shard_paths(LETTERS / name, ".tar", 1)[0], drawn)
        write_letters()
        digits = build_classifier(MnistConfig.from_yaml())
        digits.save_weights(train.CLASSIFIER)
        digits.get_layer("features").save_weights(train.FEATURES)
        build_classifier(AsciiLetterConfig.from_yaml()).save_weights(fine_tune.CLASSIFIER)
    return folder


@pytest.fixture
def made(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own for each test, and the current folder: data, records, (untrained) weights."""
    folder = tmp_path / "project"
    shutil.copytree(_made, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refusal(
    made: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Refusal:
    """Runs a stage that must fail; returns the one line that it says. No file may have changed.

    It runs as `python -m` does, but in this process, which has imported TensorFlow already.
    """

    def run(module: str) -> str:
        monkeypatch.delitem(sys.modules, module, raising=False)
        before = contents(made)
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            runpy.run_module(module, run_name="__main__")
        out, err = capfd.readouterr()
        assert stop.value.code == 1
        assert contents(made) == before
        assert "data/" not in out  # the line of a stage that has written
        assert err.startswith("error: ")
        assert err.count("\n") == 1, err
        return err.removeprefix("error: ").rstrip()

    return run
