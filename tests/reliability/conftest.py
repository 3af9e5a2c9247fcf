"""A project that is complete up to its (untrained) weights, and stages run in it as `python -m` does."""

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.drawing import SETS, Letter, write_tarball
from letterpress.jobs.shards import shard_paths
from letterpress.mnist.config import MnistConfig
from letterpress.model.network import build_classifier
from stages import write_tfrecords
from stages.build_ascii_tarball import RAW as LETTERS
from stages.build_ascii_tarball import TYPEFACES
from stages.fetch_mnist import RAW as DIGITS
from stages.fine_tune_ascii import CLASSIFIER as LETTERS_CLASSIFIER
from stages.train_mnist import CLASSIFIER, FEATURES
from tests.conftest import Params, copy_project, write_digits, write_typefaces
from tests.core.test_files import contents
from tests.records.test_tarball import SIDE, encode

N_PER_CLASS = {"letters": 9, "validation": 1, "unseen": 2}
DRAWN_IN = "Lato", "Lato", "serif", "small"
Refusal = Callable[[str], str]


def letters(folder: str) -> list[Letter]:
    """Images of noise, of the classes a, b and c, for a folder of SETS."""
    start = 1000 * list(SETS).index(folder)
    return [
        Letter(f"{name}/{folder}-{i}.png", encode(start + 100 * label + i), *DRAWN_IN)
        for i in range(N_PER_CLASS[folder])
        for label, name in enumerate("abc")
    ]


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params) -> Path:
    folder = tmp_path_factory.mktemp("made")
    small = {"image_height": SIDE, "image_width": SIDE, "n_classes": 3, "none_share": 0.0}
    counts = {"n_train_samples": 18, "n_validation_samples": 3, "n_test_samples": 6}
    params = {**_tiny_params, "ascii_letter": {**_tiny_params["ascii_letter"], **small, **counts}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        copy_project(folder, params)
        shutil.rmtree(folder / ".dvc")  # in which DVCLive would write
        write_typefaces(TYPEFACES, folder / "letterpress/ascii_letter")
        write_digits(DIGITS)
        for name, families in SETS.items():
            (LETTERS / name).mkdir(parents=True)
            write_tarball(shard_paths(LETTERS / name, ".tar", 1)[0], letters(name), families)
        for pipeline in ("mnist", "ascii_letter"):
            write_tfrecords.main(pipeline)
        digits = build_classifier(MnistConfig.from_yaml())
        digits.save_weights(CLASSIFIER)
        digits.get_layer("features").save_weights(FEATURES)
        build_classifier(AsciiLetterConfig.from_yaml()).save_weights(LETTERS_CLASSIFIER)
    return folder


@pytest.fixture
def made(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project, which is the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(_made, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refusal(
    made: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Refusal:
    """Runs a stage that must fail and returns its one line. No file may have changed.

    It runs as `python -m` does, but in this process, which has imported TensorFlow already.
    """

    def run(stage: str) -> str:
        module, *arguments = stage.split()
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        before = contents(Path())
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            runpy.run_module(module, run_name="__main__")
        out, err = capfd.readouterr()
        # Parallel tests share the code and therefore its lock.
        err = err.removeprefix("another run of this stage is still active: waiting\n")
        assert stop.value.code == 1
        assert contents(Path()) == before
        assert "data/" not in out  # the last line of a stage that succeeds
        assert err.startswith("error: ")
        assert err.count("\n") == 1, err
        return err.removeprefix("error: ").rstrip()

    return run
