"""The architectures of docs/architecture.md train, evaluate and predict like the standard one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras
from letterpress.evaluation.metrics import classify_split, evaluate_splits
from letterpress.loading import load
from letterpress.model.network import build_classifier, build_features
from letterpress.model.weights import load_features
from letterpress.training.checkpoint import Checkpoint
from letterpress.training.loop import train
from letterpress.web.tfjs import write_layers_model
from tests.conftest import ROOT, write_params
from tests.model.test_weights import bits
from tests.pages import read_blocks
from tests.trained import Trained

CODE = {block.title: block.text for block in read_blocks(ROOT / "docs/architecture.md")}
LAYERS = "import keras\nimages = keras.Input((None, None, 1))\ndef build_features(config):\n    "


def write_code(folder: Path, name: str) -> str:
    path = folder / name
    path.write_text(CODE[f"`{name}`"], encoding="utf-8")
    return str(path)


@pytest.mark.long
def test_residual_blocks_train_start_a_child_and_predict(trained: Trained, tmp_path: Path) -> None:
    data, features = tmp_path / "data/mnist", tmp_path / "features.weights.h5"
    data.mkdir(parents=True)
    write_code(tmp_path, "residual.py")
    params: dict[str, Any] = {"architecture": "residual.py", "blocks": [[4], [8]], "n_epochs": 4}
    sizes = {f"n_{s}_samples": n for s, n in (("train", 200), ("validation", 20), ("test", 60))}
    write_params(tmp_path, {**params, "batch_size": 20, "learning_rate": 0.01, "mnist": sizes})
    with pytest.raises(PipelineError, match="calibration"):
        load("digits", tmp_path)  # nothing is trained
    (data / "calibration.json").write_text((ROOT / "data/mnist/calibration.json").read_text())
    config = load("digits", tmp_path).config
    parent = train(config, trained.records, tmp_path / "curves")
    assert any(isinstance(layer, keras.layers.Add) for layer in parent.get_layer("features").layers)
    parent.get_layer("features").save_weights(features)
    child = config.replace(pretrained_features=True, freeze_features=True)
    tuned = train(child, trained.records, tmp_path / "curves", features)
    assert bits(tuned.get_layer("features")) == bits(parent.get_layer("features"))
    tuned.save_weights(data / "classifier.weights.h5")
    weights = data / "classifier.weights.h5"
    evaluate_splits(child, weights, trained.records, data, ["test", "validation"])
    test = classify_split(tuned, config, trained.test_records)
    assert (test.probabilities.argmax(axis=1) == test.labels).mean() > 0.5  # chance is a tenth
    image = np.zeros((28, 28), np.uint8)
    image[8:20, 10:16] = 255
    Image.fromarray(image).save(tmp_path / "bar.png")
    classifier = load("digits", tmp_path)
    assert sum(guess.probability for guess in classifier.predict(tmp_path / "bar.png").guesses) > 0
    images = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
    found, expected = (m.predict_on_batch(images) for m in (classifier._network, tuned))
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(PipelineError, match=r"not a chain of layers \(got a Functional\)"):
        write_layers_model(tmp_path, tuned, {})


def test_grey_residual_features_start_an_rgb_child(tmp_path: Path) -> None:
    path, code = tmp_path / "grey.weights.h5", write_code(tmp_path, "residual.py")
    grey = ClassifierConfig(architecture=code, blocks=((4,),))
    parent, rgb = build_features(grey), grey.replace(n_channels=3, match_channels=True)
    parent.save_weights(path)
    child = build_classifier(rgb).get_layer("features")
    load_features(child, path, rgb)
    images = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    np.testing.assert_allclose(child(images.repeat(3, axis=3)), parent(images), atol=1e-5)


def test_features_of_a_local_keras_file_are_used_and_not_trained(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After an edit of the architecture, the checkpoint of a killed training is ignored."""
    own = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(5),
        ]
    )
    own.save(tmp_path / "own.keras")
    path, checkpoint = write_code(tmp_path, "pretrained.py"), tmp_path / "training.npz"
    config = trained.config.replace(architecture=path, n_epochs=1, batch_size=100)
    monkeypatch.setattr(Checkpoint, "remove", lambda _: None)
    for ignored in (False, True):
        classifier = train(config, trained.records, tmp_path / "curves", checkpoint=checkpoint)
        assert ("checkpoint ignored (different params" in capsys.readouterr().out) == ignored
        Path(path).write_text(f"{Path(path).read_text('utf-8')}# edited\n", "utf-8")
    assert bits(classifier.get_layer("features")) == bits(own)[:2]
    assert classifier.get_layer("features").output_shape == (None, 4)


def test_a_network_of_keras_applications_with_a_local_file_is_used_and_not_trained(
    tmp_path: Path,
) -> None:
    network = keras.applications.MobileNetV2(alpha=0.35, include_top=False, weights=None)
    network.save_weights(tmp_path / "mobilenet.weights.h5")
    path = write_code(tmp_path, "mobilenet.py")
    config = ClassifierConfig(
        architecture=path, image_height=32, image_width=32, n_channels=3, dense_units=8
    )
    classifier = build_classifier(config)
    assert bits(classifier.get_layer("features")) == bits(network)
    assert len(classifier.trainable_weights) == 6  # those of two dense layers and a normalization
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    np.testing.assert_allclose(
        classifier.get_layer("features")(images), network(2 * images - 1), atol=1e-5
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, "no such file. Correct architecture"),
        ("build_features = 1\n", "no function build_features"),
        (f"{LAYERS}return None\n", r"returned no model \(got a NoneType\). Return a keras.Model"),
        (f"{LAYERS}return keras.Model(images, [images, images])\n", "do not fit images of"),
        (f"{LAYERS}return keras.Sequential([keras.Input((8, 8, 1))])\n", "do not fit images of"),
    ],
)
def test_a_bad_architecture_is_reported_in_one_line(
    code: str | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.py"
    if code:
        path.write_text(code, encoding="utf-8")
    with pytest.raises(PipelineError, match=f"^{path}: .*{reason}") as refused:
        build_classifier(ClassifierConfig(architecture=str(path)))
    assert "\n" not in str(refused.value)
