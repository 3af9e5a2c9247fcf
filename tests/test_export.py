"""Exported classifiers, run as other programs run them: Keras, TensorFlow, LiteRT, ONNX Runtime."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from letterpress.cli import main
from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras, tf
from letterpress.evaluation.calibration import Calibration, write_calibration
from letterpress.export import SUFFIXES, export
from letterpress.loading import Classifier, load
from tests.conftest import ROOT, Params, write_params
from tests.core.test_files import contents
from tests.pages import read_blocks
from tests.prediction.test_forward import save_random
from tests.test_pipeline import Repository

CALIBRATION = Calibration(temperature=2.5, sure=0.6)
PHOTOS = {"classes": ["no", "é"], "n_channels": 3, "image_height": 29, "image_width": 39,
          "invert": True, "dtype_policy": "mixed_bfloat16"}  # fmt: skip


@pytest.fixture
def photos(project: Path, tiny_params: Params) -> Classifier:
    """A pipeline of odd RGB images, whose config differs from the defaults in every way."""
    write_params(project, {**tiny_params, "photos": PHOTOS})
    return save("photos")


def save(name: str) -> Classifier:
    """Saves random weights and a calibration for a pipeline of the current folder; loads it."""
    section = {"letters": "ascii_letter", "digits": "mnist"}.get(name, name)
    write_calibration(Path("data", section, "calibration.json"), CALIBRATION)
    classifier = load(name)
    save_random(classifier.config.replace(dtype_policy="float32"), classifier.weights)
    return classifier


def run_all(folder: Path, name: str, images: Any) -> dict[str, Any]:
    """Returns the outputs of each exported format for images."""
    paths = {key: str(folder / f"{name}{suffix}") for key, suffix in SUFFIXES.items()}
    lite = tf.lite.Interpreter(paths["litert"]).get_signature_runner()
    session = onnxruntime.InferenceSession(paths["onnx"], providers=["CPUExecutionProvider"])
    return {
        "keras": keras.models.load_model(paths["keras"]).predict_on_batch(images),
        "savedmodel": tf.saved_model.load(paths["savedmodel"]).signatures["serving_default"](
            images=tf.constant(images)
        )["output_0"],
        "litert": lite(images=images)["output_0"],
        "onnx": session.run(None, {"images": images})[0],
    }


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize("name", ["letters", pytest.param("photos", marks=pytest.mark.long)])
@pytest.mark.usefixtures("photos")
def test_every_format_gives_the_calibrated_probabilities(name: str, tmp_path: Path) -> None:
    classifier = save(name)
    export(classifier, tmp_path / "to", [*SUFFIXES])
    images = np.random.default_rng(1).random((3, *classifier.config.image_shape), np.float32)
    trained = save_random(
        classifier.config.replace(dtype_policy="float32"), tmp_path / "a.weights.h5"
    )
    raw = trained.predict_on_batch(images)
    expected = CALIBRATION.apply(raw)
    assert np.abs(expected - raw).max() > 0.01
    for kind, found in run_all(tmp_path / "to", name, images).items():
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=kind)
    names = {path.name for path in (tmp_path / "to").iterdir()}
    assert names == {f"{name}{suffix}" for suffix in (*SUFFIXES.values(), ".json")}


def test_preprocessing_classes_and_calibration_travel_along(photos: Classifier) -> None:
    export(photos, Path("to"), ["onnx"])
    described = json.loads(Path("to/photos.json").read_text(encoding="utf-8"))
    assert described["params"].pop("photos").items() >= PHOTOS.items()
    assert described == {
        "pipeline": "photos",
        "input": {"shape": [None, 29, 39, 3], "dtype": "float32", "range": [0, 1]},
        "preprocessing": {"fit": "picture", "inverted": True, "background": 0},
        "classes": ["no", "é"],
        "calibrated": True,
        "calibration": {"temperature": 2.5, "sure": 0.6},
        "most_none": 0.5,
        "params": {},
    }
    letters = json.loads(save("letters").describe(calibrated=False))
    fit = {"fit": "character", "longer_side": 22, "placement": "bounding_box", "background": 0}
    assert letters["preprocessing"] == fit
    assert (letters["classes"][25:], letters["calibrated"]) == (["z", "none"], False)
    session = onnxruntime.InferenceSession("to/photos.onnx", providers=["CPUExecutionProvider"])
    values = session.get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in values.items() if key != "params"} == {
        key: value for key, value in described.items() if key != "params"
    }


def test_what_cannot_be_exported_is_refused_and_nothing_else_is_touched(
    photos: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("to").mkdir()
    Path("to/notes.txt").write_text("mine")
    export(photos, Path("to"), ["keras"])
    before = contents(Path("to"))
    assert before.keys() == {"notes.txt", "photos.json", "photos.keras"}
    monkeypatch.setattr("letterpress.export.find_spec", lambda name: name != "tf2onnx" or None)
    with pytest.raises(PipelineError, match=r"tf2onnx is not installed. Run .* `pip install onnx"):
        export(photos, Path("to"), ["keras", "onnx"])
    photos.weights.write_bytes(b"")
    with pytest.raises(PipelineError, match="not the weights of this classifier"):
        export(photos, Path("to"), ["savedmodel"])
    assert contents(Path("to")) == before


@pytest.mark.usefixtures("photos")
def test_the_command_writes_all_formats_but_onnx_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr("letterpress.cli.export", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for more, formats in (([], [*SUFFIXES][:-1]), (["--format", *SUFFIXES], [*SUFFIXES])):
        monkeypatch.setattr(sys, "argv", ["letterpress", "export", "photos", "--to", "to", *more])
        main()
        classifier, folder, chosen = calls.pop()
        assert (classifier.name, folder, [*chosen]) == ("photos", Path("to"), formats)


@pytest.mark.long
def test_the_commands_of_the_page_work(project: Path) -> None:
    save("letters")
    repository, printed = Repository(project), ""
    for block in read_blocks(ROOT / "docs/export.md"):
        if block.section == "Export":
            start = {"sh": ("sh", "-euc"), "python": ("python", "-c")}[block.language]
            printed = repository.run(*start, block.text)
    assert printed.strip() in load("letters").config.output_names
