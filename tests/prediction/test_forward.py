"""The standard network in NumPy computes what Keras computes, from the same file and no other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.mnist.config import MnistConfig
from letterpress.model.network import build_classifier
from letterpress.prediction.forward import Classifier

ODD = MnistConfig(
    image_height=29, image_width=39, n_channels=3, blocks=((4,), (3, 5)), dense_units=6
)
LETTERS = AsciiLetterConfig(image_height=32, image_width=32, none_share=0.25)


def save_random(config: ClassifierConfig, path: Path) -> Any:
    """Saves a classifier none of whose weights are 0 or 1, as many are before a training."""
    classifier, random = build_classifier(config), np.random.default_rng(0)
    for weight in classifier.weights:
        if len(weight.shape) == 1:
            weight.assign(random.uniform(0.1, 0.5, weight.shape))
        else:
            weight.assign(random.normal(0, 1.5 * np.prod(weight.shape[:-1]) ** -0.5, weight.shape))
    classifier.save_weights(path)
    return classifier


@pytest.mark.parametrize("config", [MnistConfig(), LETTERS, ODD], ids=["digits", "letters", "odd"])
def test_probabilities_are_those_of_keras(config: ClassifierConfig, tmp_path: Path) -> None:
    expected = save_random(config, tmp_path / "a.weights.h5")
    images = np.random.default_rng(1).random((5, *config.image_shape), np.float32)
    for index, image in enumerate(images):
        image[5 * index : 5 * index + 5] /= 4
    found = Classifier(config, tmp_path / "a.weights.h5").predict_on_batch(images)
    assert found.dtype == np.float32
    assert np.ptp(found, axis=0).max() > 0.01  # the images make a difference
    np.testing.assert_allclose(found, expected.predict_on_batch(images), rtol=1e-4, atol=2e-6)


def fill(name: str, value: float) -> Callable[[Any], object]:
    return lambda file: file[name].write_direct(np.full(file[name].shape, value, "f4"))


DENSE = "layers/dense_1/vars/1"
EDITS: list[tuple[Callable[[Any], object], str]] = [
    (fill(DENSE, np.nan), "dense_1/vars/1 has NaN"),
    (fill("layers/sequential/layers/conv2d/vars/0", np.inf), "conv2d/vars/0 has NaN, inf"),
    (lambda file: file.create_dataset("x", (1 << 50,), "f4", chunks=(1,)), "x has shape"),
    (lambda file: file.pop("layers/dense_1"), "dense_1/vars/0 has shape None, expected"),
    (lambda file: file.move("layers/dense_1", "layers/other"), "dense_1/vars/0 has shape None"),
    (lambda file: file.pop(DENSE) and file.create_dataset(DENSE, (10,), "f8"), "dtype float64"),
    (lambda file: file.pop(DENSE) and file.create_dataset(DENSE, (11,), "f4"), r"shape \(11,\)"),
]


def test_files_that_are_not_exactly_the_weights_are_refused(tmp_path: Path) -> None:
    path, config = tmp_path / "a.weights.h5", MnistConfig()

    def assert_refused(reason: str) -> None:
        with pytest.raises(PipelineError, match=f"^{path}: .*{reason}.*dvc repro") as refused:
            Classifier(config, path)
        assert "\n" not in str(refused.value)

    assert_refused("missing")
    save_random(config.replace(n_classes=11), path)
    assert_refused("dense_1/vars/0 has shape")
    save_random(config, path)
    content = path.read_bytes()
    for edit, reason in EDITS:
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            edit(file)
        assert_refused(reason)
    for damaged in (b"", content[:1000], content[:-1000], b"<html>"):
        path.write_bytes(damaged)
        assert_refused("not the weights of this classifier")
    path.write_bytes(content)
    Classifier(config, path)
