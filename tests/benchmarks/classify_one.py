"""Classifies one letter, the model loaded, on one core; prints the seconds of each way as JSON."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])  # before TensorFlow counts them

import numpy as np

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.backend import tf
from stages.mnist.model import build_classifier
from tests.benchmarks.networks import seconds_of


def main(n_times: int) -> None:
    config = AsciiLetterConfig.from_yaml()
    classifier = build_classifier(config)
    image = np.random.default_rng(0).random((1, *config.image_shape), dtype=np.float32)
    plain, xla = (tf.function(classifier, jit_compile=jit) for jit in (False, True))
    ways: dict[str, Callable[[], object]] = {
        "predict_on_batch": lambda: classifier.predict_on_batch(image),
        "classifier(image)": lambda: np.asarray(classifier(image)),
        "tf.function(classifier)(image)": lambda: plain(image).numpy(),
        "tf.function(classifier, jit_compile=True)(image)": lambda: xla(image).numpy(),
    }
    for way in ways.values():
        way()
    rounds = [{name: seconds_of(way) for name, way in ways.items()} for _ in range(n_times)]
    print(json.dumps({name: statistics.median(one[name] for one in rounds) for name in ways}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
