"""Exports a classifier to TensorFlow.js."""

from pathlib import Path

import numpy as np

from letterpress.core.config import ClassifierConfig
from letterpress.evaluation.calibration import MOST_NONE, check_finite, read_calibration
from letterpress.model.weights import load_classifier
from letterpress.prediction.picture import ink_size
from letterpress.web.tfjs import write_layers_model


def export(config: ClassifierConfig, weights: Path, calibration: Path, folder: Path) -> None:
    """Writes model.json and weights.bin to a folder.

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
    folder.mkdir(parents=True, exist_ok=True)
    write_layers_model(folder, classifier, metadata)
