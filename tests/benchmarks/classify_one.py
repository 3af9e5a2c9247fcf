"""Classifies one letter N times on one core; prints the median seconds as JSON."""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])  # before NumPy counts cores

import numpy as np

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.model.network import build_classifier
from letterpress.prediction.forward import Classifier
from tests.benchmarks.networks import seconds_of


def main(n_times: int) -> None:
    config = AsciiLetterConfig.from_yaml()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "classifier.weights.h5")
        build_classifier(config).save_weights(weights)
        classifier = Classifier(config, weights)
    image = np.random.default_rng(0).random((1, *config.image_shape), dtype=np.float32)
    classifier.predict_on_batch(image)
    seconds = [seconds_of(lambda: classifier.predict_on_batch(image)) for _ in range(n_times)]
    print(json.dumps(statistics.median(seconds)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
