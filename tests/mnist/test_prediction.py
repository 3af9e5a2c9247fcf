"""The command line that classifies pictures, as it is typed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError
from stages.mnist.model import build_classifier
from stages.mnist.picture import prepare
from stages.mnist.prediction import Guess, classify, predict
from tests.conftest import ROOT


@pytest.fixture
def classifier(project: Path) -> Any:
    """A classifier of random weights, saved as weights.weights.h5 in the current folder."""
    built = build_classifier(MnistConfig.from_yaml())
    built.save_weights("weights.weights.h5")
    return built


def draw(path: Path, seed: int) -> Path:
    """Saves a picture of some bars."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (90, 90), "white")
    for left, top in random.integers(10, 60, (3, 2)):
        picture.paste("navy", (int(left), int(top), int(left) + 6, int(top) + 20))
    picture.save(path)
    return path


def expected(classifier: Any, path: Path) -> list[Guess]:
    config = MnistConfig.from_yaml()
    (guesses,) = classify(classifier, prepare(Image.open(path), config)[np.newaxis], config)
    return guesses


def typed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[list[str], list[str], int]:
    """Runs the command; returns the lines of standard output and error, and the exit code."""
    monkeypatch.setattr(sys, "argv", ["predict", *words])
    code = 0
    try:
        predict(MnistConfig, Path("weights.weights.h5"))
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        code = stop.code
    out, err = capsys.readouterr()
    return out.splitlines(), err.splitlines(), code


def test_classes_come_with_the_most_probable_first(classifier: Any, project: Path) -> None:
    guesses = expected(classifier, draw(project / "a.png", 0))
    assert sorted(guess.name for guess in guesses) == list("0123456789")
    probabilities = [guess.probability for guess in guesses]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)


def test_a_line_says_the_class_and_the_next_two(
    classifier: Any,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second, third = expected(classifier, draw(project / "a.png", 0))[:3]
    said = f"{second.name} {second.probability:.1%}, {third.name} {third.probability:.1%}"
    doubtful, sure = (
        typed(["a.png", "--sure", str(first.probability + shift)], monkeypatch, capsys)
        for shift in (1e-4, -1e-4)
    )
    assert sure == ([f"a.png: {first.name} {first.probability:.1%} (or {said})"], [], 0)
    assert doubtful == (
        [f"a.png: {first.name} {first.probability:.1%}, not sure (or {said})"],
        [],
        0,
    )


def test_json_is_an_object_a_line_in_order_over_several_batches(
    classifier: Any,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    n_pictures = 2 * MnistConfig.from_yaml().batch_size + 3
    names = [draw(project / f"{i}.png", i % 5).name for i in range(n_pictures)]
    out, err, code = typed(["--json", *names], monkeypatch, capsys)
    objects = [json.loads(line) for line in out]
    assert (err, code) == ([], 0)
    assert [entry["file"] for entry in objects] == names
    for entry, name in zip(objects, names, strict=True):
        guesses = expected(classifier, project / name)[:3] if int(name[:-4]) < 5 else []
        for found, guess in zip(entry["guesses"], guesses, strict=False):
            assert found["class"] == guess.name
            assert found["probability"] == pytest.approx(guess.probability, abs=1e-5)
        assert len(entry["guesses"]) == 3
        assert entry["sure"] is (entry["guesses"][0]["probability"] >= 0.9)


def test_a_folder_stands_for_its_pictures_by_name(
    classifier: Any,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("d/b.png", "d/a.JPG", "d/c/x.gif", "z.png"):
        draw(project / name, 0)
    (project / "d" / "notes.txt").write_text("not looked at")
    (project / "d" / "folder.png").mkdir()
    (project / "empty").mkdir()
    out, err, code = typed(["z.png", "d", "empty"], monkeypatch, capsys)
    assert [line.split(":")[0] for line in out] == ["z.png", "d/a.JPG", "d/b.png", "d/c/x.gif"]
    assert (err, code) == (["error: empty: no pictures in this folder"], 1)


def test_a_bad_file_is_one_line_and_the_rest_go_on(
    classifier: Any,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw(project / "good.png", 0)
    (project / "bad.png").write_bytes(b"no picture")
    Image.new("L", (20, 20)).save(project / "blank.png")
    names = ["missing.png", "bad.png", "good.png", "blank.png"]
    out, err, code = typed(names, monkeypatch, capsys)
    assert [line.split(":")[0] for line in out] == ["good.png"]
    assert [line.split(": ")[:2] for line in err] == [
        ["error", name] for name in names if name != "good.png"
    ]
    assert code == 1


def test_a_picture_comes_from_standard_input(
    classifier: Any,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = draw(project / "a.png", 0).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    from_file, from_stdin = typed(["a.png", "-"], monkeypatch, capsys)[0]
    assert from_stdin == from_file.replace("a.png:", "-:")


def test_missing_weights_are_an_error_with_a_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", "a.png"])
    with pytest.raises(PipelineError, match=r"weights\.weights\.h5 is missing: run `dvc repro`"):
        predict(MnistConfig, Path("weights.weights.h5"))


@pytest.mark.parametrize("pipeline", ["mnist", "ascii_letter"])
def test_help_does_not_wait_for_tensorflow(pipeline: str) -> None:
    program = (
        "import runpy, sys, atexit\n"
        "atexit.register(lambda: print('tensorflow' in sys.modules))\n"
        f"sys.argv = ['predict', '--help']; runpy.run_module('stages.{pipeline}.predict', "
        "run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "a picture, a folder, or -" in done.stdout
    assert done.stdout.endswith("False\n")
