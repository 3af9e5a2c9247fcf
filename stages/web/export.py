"""Stage export_web: the letters classifier for TensorFlow.js, and examples to check the page against."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import draw_letter, find_typefaces
from stages.mnist.backend import tf
from stages.mnist.errors import run
from stages.mnist.files import replacing
from stages.mnist.model import build_classifier, load_weights
from stages.mnist.picture import ink_size
from stages.mnist.prediction import SURE
from stages.web.tfjs import write_layers_model

CLASSIFIER = Path("data/ascii_letter/classifier.weights.h5")
MODEL = Path("data/web/model")


def draw_golden(config: AsciiLetterConfig) -> npt.NDArray[np.uint8]:
    """Draws a capital of each class: uint8 0..255 [n_classes, image_height, image_width, 1]."""
    typeface = find_typefaces()[0][0]
    shape = config.image_height, config.image_width
    letters = (
        draw_letter(name.upper(), typeface, config.letter_size, shape)
        for name in config.class_names
    )
    return np.stack([np.asarray(letter) for letter in letters])[..., np.newaxis]


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    classifier = build_classifier(config)
    load_weights(classifier, CLASSIFIER)
    metadata = {"classes": config.class_names, "inkSize": ink_size(config), "sure": SURE}
    images = draw_golden(config)
    tf.config.experimental.enable_op_determinism()
    probabilities = classifier.predict_on_batch(images.astype(np.float32) / 255)
    golden = {
        "images": images.reshape(len(images), -1).tolist(),
        "probabilities": [[round(float(p), 7) for p in row] for row in probabilities],
    }
    with replacing(MODEL) as folder:
        folder.mkdir()
        write_layers_model(folder, classifier, metadata)
        (folder / "golden.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")
    print(f"{MODEL}: letters classifier for TensorFlow.js")


if __name__ == "__main__":
    run(main)
