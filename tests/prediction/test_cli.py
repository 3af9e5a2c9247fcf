"""The command `letterpress predict`."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.cli import main
from letterpress.evaluation.calibration import Calibration, write_calibration
from letterpress.model.network import build_classifier
from letterpress.prediction.classify import Answer, Guess, classify
from letterpress.prediction.picture import open_picture, prepare
from tests.conftest import ROOT, locked
from tests.model.test_weights import overflow

Predict = Callable[..., tuple[list[str], list[str], Any]]
WEIGHTS = Path("data/ascii_letter/classifier.weights.h5")
CALIBRATION = Calibration(temperature=2.0, sure=0.5)


@pytest.fixture
def classifier(project: Path) -> Any:
    """A classifier of letters with random weights, saved where the command reads them."""
    built = build_classifier(AsciiLetterConfig.from_yaml())
    WEIGHTS.parent.mkdir(parents=True)
    built.save_weights(WEIGHTS)
    write_calibration(WEIGHTS.with_name("calibration.json"), CALIBRATION)
    return built


@pytest.fixture
def predict(
    classifier: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Predict:
    """Runs the command; returns the lines of standard output and error, and the exit code."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # restored after the test

    def run(*words: str, pipeline: str = "letters") -> tuple[list[str], list[str], Any]:
        monkeypatch.setattr(sys, "argv", ["letterpress", "predict", pipeline, *words])
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        errors = [
            line for line in err.split("\n")[:-1] if not line.startswith("WARNING:tensorflow")
        ]
        return out.split("\n")[:-1], errors, code

    return run


def draw(file: str, letter: str = "R") -> str:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (140, 100))
    ImageDraw.Draw(picture).text((70, 50), letter, "white", ImageFont.load_default(80), anchor="mm")
    picture.save(file)
    return file


def test_a_line_has_the_class_and_the_alternatives_that_matter(
    predict: Predict, classifier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, content = AsciiLetterConfig.from_yaml(), Path(draw("a.png")).read_bytes()
    image = prepare(open_picture("a.png", content), config)[np.newaxis]
    ((guesses, none),) = classify(classifier, image, config, CALIBRATION)
    assert guesses == sorted(guesses, key=lambda guess: -guess.probability)
    roots = classifier(image)[0].numpy() ** 0.5  # temperature 2
    *expected, other = roots / roots.sum()
    assert dict(guesses) == pytest.approx(dict(zip(config.class_names, expected, strict=True)))
    assert none == pytest.approx(other)
    first, *others = [f"{name} {p:.1%}" for name, p in guesses[:3]]
    for shift, doubt in ((-1e-4, ""), (1e-4, ", not sure")):
        line = f"a.png: {first}{doubt} (or {', '.join(others)})"
        sure = str(guesses[0].probability + shift)
        assert predict("a.png", "--sure", sure) == ([line], [], 0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert predict("-", "--sure", "1")[0] == [f"-: {first}, not sure (or {', '.join(others)})"]
    found = Answer([Guess("x", 0.9997), Guess("y", 0.012), Guess("z", 0.008)], 0)
    monkeypatch.setattr("letterpress.loading.classify", lambda *_: [found])
    assert predict("a.png")[0] == ["a.png: x 99.9% (or y 1.2%)"]


def test_one_more_output_means_none_of_the_classes(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AsciiLetterConfig.from_yaml()

    class Classifier:
        def predict_on_batch(self, images: Any) -> Any:
            rows = np.full((len(images), 27), 0.001)
            rows[:, [3, 26]] = [[0.05, 0.926], [0.5, 0.476]]
            return rows

    images = np.zeros((2, 32, 32, 1), np.float32)
    none, letter = classify(Classifier(), images, config, Calibration())
    assert [none.none, letter.none] == [0.926, 0.476]
    assert (none.is_none, none.is_sure(0)) == (True, False)
    assert (letter.is_none, letter.is_sure(0.5), letter.is_sure(0.6)) == (False, True, False)
    assert (letter.guesses[0], len(letter.guesses)) == (Guess("d", 0.5), 26)
    draw("a.png")
    monkeypatch.setattr("letterpress.loading.classify", lambda *_: [none])
    assert predict("a.png")[0] == ["a.png: none 92.6% (not a letter)"]
    entry = json.loads(predict("--json", "a.png")[0][0])
    assert (entry["none"], entry["sure"], entry["guesses"][0]["class"]) == (0.926, False, "d")


def test_several_characters_are_refused_or_classified_one_by_one(predict: Predict) -> None:
    two = Image.new("L", (420, 200), 255)
    for place, name in enumerate("RO"):
        two.paste(
            Image.open(draw("one.png", name)).convert("L").point(lambda v: 255 - v),
            (80 + 150 * place, 20),
        )
    two.save("two.png")
    out, err, code = predict("two.png", "one.png")
    assert err == ["error: two.png: 2 characters. Crop the picture, or use --each"]
    assert (len(out), code) == (1, 1)
    each, err, code = predict("--each", "--json", "two.png", "one.png")
    entries = [json.loads(line) for line in each]
    assert [entry["file"] for entry in entries] == ["two.png", "two.png", "one.png"]
    assert (err, code) == ([], 0)
    assert entries[1]["guesses"] != entries[0]["guesses"]


def test_weights_that_overflow_are_refused(predict: Predict, classifier: Any) -> None:
    draw("a.png")
    overflow(classifier, WEIGHTS)
    out, (error,), code = predict("a.png", "--json")
    assert (out, code) == ([], 1)
    assert error.startswith("error: ascii_letter: expected finite probabilities (got NaN")


def test_json_lines_are_in_order_over_several_batches(predict: Predict) -> None:
    n_files = AsciiLetterConfig.from_yaml().batch_size + 2
    names = [draw(f"{i}.png", "OI"[i % 2]) for i in range(n_files)]
    out, err, code = predict("--json", "--sure", "0", *names)
    entries = [json.loads(line) for line in out]
    assert ([entry["file"] for entry in entries], err, code) == (names, [], 0)
    guesses = [[guess["class"] for guess in entry["guesses"]] for entry in entries]
    assert guesses[0] != guesses[1]
    assert guesses == guesses[:2] * (n_files // 2)
    assert (entries[0]["sure"], len(guesses[0])) == (True, 3)


def test_a_folder_stands_for_its_pictures_and_other_files_are_counted(predict: Predict) -> None:
    for name in ("d/b.png", "d/a.JPG", "d/c/x.gif", "z.png", "d/._a.png"):
        draw(name)
    for name in ("d/notes.txt", "d/IMG_2.HEIC", "d/IMG_3", "d/.DS_Store"):
        Path(name).touch()
    Path("d/folder.png").mkdir()
    Path("empty").mkdir()
    Path("IMG_1.HEIC").write_bytes(b"\0\0\0\x24ftypheic\0\0\0\0mif1heic")
    out, err, code = predict("z.png", "d", "empty", "IMG_1.HEIC")
    assert [line.split(":")[0] for line in out] == ["z.png", "d/a.JPG", "d/b.png", "d/c/x.gif"]
    assert err[0] == "error: empty: no pictures in this folder"
    remedy = "Convert HEIC to JPEG"
    assert err[1] == f"error: IMG_1.HEIC: not an image in any known format. {remedy}"
    assert err[2].startswith("files left out: 3, not in a picture format (1 ")
    assert err[2].endswith(remedy)
    assert (len(err), code) == (3, 1)


def test_a_subfolder_that_cannot_be_listed_is_an_error(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("d/a.png", "d/locked/b.png"):
        draw(name)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", locked(Path("d/locked")))
        out, err, code = predict("d")
    assert [line.split(":")[0] for line in out] == ["d/a.png"]
    assert (err, code) == (["error: d/locked: no pictures in this folder"], 1)


def test_bad_files_and_odd_names_do_not_stop_the_others(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [draw("good.png"), draw("line\nbreak\x1b[31m.png"), draw("é\udcff.png")]
    Path("bad\n.png").write_bytes(b"text")
    Image.new("L", (20, 20)).save("blank.png")
    os.mkfifo("pipe.png")
    bad = ["missing.png", "blank.png", "x" * 5000, draw("huge.png"), "/dev/zero", "pipe.png"]
    bad.append("bad\n.png")

    def open_or_fail(name: str, content: bytes) -> Image.Image:
        if name == "huge.png":
            raise MemoryError
        return open_picture(name, content)

    monkeypatch.setattr("letterpress.loading.open_picture", open_or_fail)
    monkeypatch.setattr("letterpress.prediction.classify._MOST_BYTES", 1 << 20)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written := io.BytesIO(), "ascii"))
    _, err, code = predict(*bad[:3], *good, *bad[3:])
    assert [line.split(": ")[1] for line in err] == [*bad[:6], r"bad\n.png"]
    assert code == 1
    assert ": not enough memory. Make the picture smaller" in err[3]
    predict("--json", *good)
    out = written.getvalue().decode("ascii").splitlines()
    escaped = ["good.png", r"line\nbreak\x1b[31m.png", r"\xe9\udcff.png"]
    assert [line.split(": ")[0] for line in out[:3]] == escaped
    assert [json.loads(line)["file"] for line in out[3:]] == good


def test_closed_streams_do_not_mix_errors_and_results(
    predict: Predict, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw("a.png")
    for stream in ("stdin", "stderr"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, stream, None)
            out, err, code = predict("--json", "-", "a.png")
            getattr(sys, stream).close()
        assert [json.loads(line)["file"] for line in out] == ["a.png"]
        reason = "error: -: not an image in any known format. Remove it"
        assert (err, code) == ([reason] * (stream == "stdin"), 1)
    monkeypatch.setattr(sys, "stdout", None)
    message = "error: standard output: closed. Open it, or send it to /dev/null"
    assert predict("a.png") == ([], [message], 1)


def test_wrong_usage_and_missing_files_are_explained(predict: Predict) -> None:
    for words, pipeline, fragment in [
        (["--sure", "nan", "a.png"], "letters", "from 0 to 1 (got 'nan')"),
        (["--sure", "high", "a.png"], "letters", "from 0 to 1 (got 'high')"),
        ([], "letters", "required: FILE"),
    ]:
        out, err, code = predict(*words, pipeline=pipeline)
        assert (out, code, fragment in err[-1]) == ([], 2, True), err
    unknown = "error: 'shapes': no such pipeline in params.yaml. Use one of letters, digits"
    assert predict("a.png", pipeline="shapes") == ([], [unknown], 1)
    draw("a.png")
    out, err, code = predict("a.png", pipeline="digits")
    assert (out, code) == ([], 1)
    assert err[0].startswith("error: data/mnist/calibration.json: no such file.")
    Path("data").rename("elsewhere")
    Path("params.yaml").unlink()
    message = "error: params.yaml: no such file. Run this in the root of the clone"
    assert predict("a.png") == ([], [message], 1)


PROGRAM = """
import sys
from letterpress.cli import main
try:
    main()
finally:
    print({"scipy.optimize", "tensorflow"} & {*sys.modules})
"""


def test_nothing_waits_for_slow_imports(classifier: Any) -> None:
    draw("a.png")
    for words, start in (([], "usage: letterpress"), (["predict", "letters", "a.png"], "a.png: ")):
        command = [sys.executable, "-c", PROGRAM, *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(start)
        assert done.stdout.endswith("\nset()\n")
