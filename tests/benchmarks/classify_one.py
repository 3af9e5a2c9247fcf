"""Classifies one letter N times on one core; prints the median seconds as JSON."""

import json
import os
import statistics
import sys

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])  # before TensorFlow counts cores

import numpy as np

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.model.network import build_classifier
from tests.benchmarks.networks import seconds_of


def main(n_times: int) -> None:
    config = AsciiLetterConfig.from_yaml()
    classifier = build_classifier(config)
    image = np.random.default_rng(0).random((1, *config.image_shape), dtype=np.float32)
    classifier.predict_on_batch(image)
    seconds = [seconds_of(lambda: classifier.predict_on_batch(image)) for _ in range(n_times)]
    print(json.dumps(statistics.median(seconds)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
