"""Exports the letters classifier to TensorFlow.js, with golden examples that test the page."""

import base64
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.conditions.pictures import CONDITIONS, draw_picture
from letterpress.core.files import replacing
from letterpress.core.tensorflow import tf
from letterpress.evaluation.calibration import MOST_NONE, check_finite, read_calibration
from letterpress.model.weights import load_classifier
from letterpress.prediction.picture import ink_size, open_picture, prepare_each
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


def draw_golden_pictures(config: AsciiLetterConfig) -> list[dict[str, object]]:
    """Draws a picture per condition, with what `predict` makes of it: images, or an error."""
    letters = draw_golden(config)[..., 0]
    golden = []
    for index, condition in enumerate(CONDITIONS):
        letter, other = letters[index % len(letters)], letters[(index + 1) % len(letters)]
        content = draw_picture(condition, letter, other, np.random.default_rng(index))
        entry: dict[str, object] = {
            "condition": condition,
            "file": base64.b64encode(content).decode(),
        }
        try:
            images = prepare_each(open_picture(condition, content), config)
            rows = [[round(float(value), 4) for value in image[..., 0].flat] for image in images]
            golden.append({**entry, "images": rows})
        except ValueError as error:
            golden.append({**entry, "error": str(error)})
    return golden


def export(config: AsciiLetterConfig, weights: Path, calibration: Path, target: Path) -> None:
    """Writes a folder of model.json, weights.bin, golden.json and golden_pictures.json.

    golden.json has images and uncalibrated outputs: the page applies the calibration, as `classify`
    does. golden_pictures.json has picture files and the images that `predict` makes of them.
    """
    classifier = load_classifier(config, weights)
    metadata = {
        "classes": config.class_names,
        "inkSize": ink_size(config),
        "mostNone": MOST_NONE,
        "placement": config.placement,
        **read_calibration(calibration)._asdict(),
    }
    images = draw_golden(config)
    tf.config.experimental.enable_op_determinism()
    probabilities = classifier.predict_on_batch(images.astype(np.float32) / 255)
    check_finite(probabilities, weights)
    golden = {
        "images": images.reshape(len(images), -1).tolist(),
        "probabilities": [[round(float(p), 7) for p in row] for row in probabilities],
    }
    with replacing(target) as folder:
        folder.mkdir()
        write_layers_model(folder, classifier, metadata)
        pictures = draw_golden_pictures(config)
        for name, values in (("golden", golden), ("golden_pictures", pictures)):
            text = json.dumps(values, allow_nan=False)
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(f"{target}: letters classifier for TensorFlow.js")
