"""Exports the letters classifier to TensorFlow.js."""

from pathlib import Path

import numpy as np

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.files import replacing
from letterpress.evaluation.calibration import MOST_NONE, check_finite, read_calibration
from letterpress.model.weights import load_classifier
from letterpress.prediction.picture import ink_size
from letterpress.web.tfjs import write_layers_model


def export(config: AsciiLetterConfig, weights: Path, calibration: Path, target: Path) -> None:
    """Writes a folder of model.json and weights.bin.

    The network's outputs are uncalibrated: the page applies the calibration, as `classify` does.

    Raises:
        PipelineError: the weights or the calibration are missing or damaged.
    """
    classifier = load_classifier(config, weights)
    # Browsers would show NaN: try an image on which all weights count.
    check_finite(
        classifier.predict_on_batch(np.ones((1, *config.image_shape), np.float32)), weights
    )
    metadata = {
        "classes": config.class_names,
        "inkSize": ink_size(config),
        "mostNone": MOST_NONE,
        "placement": config.placement,
        **read_calibration(calibration)._asdict(),
    }
    with replacing(target) as folder:
        folder.mkdir()
        write_layers_model(folder, classifier, metadata)
    print(f"{target}: letters classifier for TensorFlow.js")
