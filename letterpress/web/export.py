"""Exports the letters classifier to TensorFlow.js, with golden examples that test the page."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.files import replacing
from letterpress.core.tensorflow import tf
from letterpress.evaluation.calibration import MOST_NONE, read_calibration
from letterpress.model.network import build_classifier
from letterpress.model.weights import load_weights
from letterpress.prediction.picture import ink_size
from letterpress.web.tfjs import write_layers_model


def draw_golden(config: AsciiLetterConfig) -> npt.NDArray[np.uint8]:
    """Draws a capital of each class: uint8 0..255 [n_classes, image_height, image_width, 1]."""
    font, size = ImageFont.load_default(ink_size(config)), (config.image_width, config.image_height)
    letters = []
    for name in config.class_names:
        letters.append(Image.new("L", size))
        center = size[0] / 2, size[1] / 2
        ImageDraw.Draw(letters[-1]).text(center, name.upper(), 255, font, anchor="mm")
    return np.stack([np.asarray(letter) for letter in letters])[..., np.newaxis]


def export(config: AsciiLetterConfig, weights: Path, calibration: Path, target: Path) -> None:
    """Writes a folder of model.json, weights.bin and golden.json (images and probabilities).

    The page applies the calibration, as `classify` does; golden.json has uncalibrated outputs.
    """
    classifier = build_classifier(config)
    load_weights(classifier, weights)
    metadata = {
        "classes": config.class_names,
        "inkSize": ink_size(config),
        "mostNone": MOST_NONE,
        **read_calibration(calibration)._asdict(),
    }
    images = draw_golden(config)
    tf.config.experimental.enable_op_determinism()
    probabilities = classifier.predict_on_batch(images.astype(np.float32) / 255)
    golden = {
        "images": images.reshape(len(images), -1).tolist(),
        "probabilities": [[round(float(p), 7) for p in row] for row in probabilities],
    }
    with replacing(target) as folder:
        folder.mkdir()
        write_layers_model(folder, classifier, metadata)
        (folder / "golden.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")
    print(f"{target}: letters classifier for TensorFlow.js")
