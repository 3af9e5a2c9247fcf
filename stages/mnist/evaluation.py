"""The one evaluation of all pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import load_batches, reading
from stages.mnist.errors import PipelineError
from stages.mnist.files import write_csv, write_json
from stages.mnist.model import build_classifier, load_weights


class Prediction(NamedTuple):
    """What the classifier says of one image."""

    filename: str
    """The image's name in its source."""
    actual: str
    """The name of its class."""
    predicted: str
    """The name of the class with the highest probability."""
    probability: float
    """That probability, 0..1."""


def evaluate(
    classifier: Any, config: MnistConfig, records: Path
) -> tuple[dict[str, float], list[Prediction]]:
    """Classifies every image of a split.

    Returns:
        The metrics: accuracy, 0..1, with its 95 % interval, accuracy_low to accuracy_high (Wilson
        1927, which takes the images for independent), and loss, the mean cross-entropy in nats; and the predictions, by file name.

    Raises:
        PipelineError: the records are missing, damaged or of another shape than the config says.
    """
    tf.config.experimental.enable_op_determinism()
    predictions: list[Prediction] = []
    losses: list[float] = []
    with reading(records):
        for images, labels, filenames in load_batches(records, config).as_numpy_iterator():
            probabilities = classifier.predict_on_batch(images)  # [batch, n_classes]
            losses.extend(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)))
            predictions.extend(
                Prediction(
                    filename.decode(),
                    config.class_names[label],
                    config.class_names[row.argmax()],
                    float(row.max()),
                )
                for filename, label, row in zip(filenames, labels, probabilities, strict=True)
            )
    if not predictions:
        raise PipelineError(f"{records} has no records: delete it and run `dvc repro`")
    n_correct = sum(p.actual == p.predicted for p in predictions)
    interval = binomtest(n_correct, len(predictions)).proportion_ci(method="wilson")
    metrics = {
        "accuracy": n_correct / len(predictions),
        "accuracy_low": float(interval.low),
        "accuracy_high": float(interval.high),
        "loss": float(np.mean(losses, dtype=np.float64)),
    }
    return metrics, sorted(predictions)


def evaluate_splits(
    config: MnistConfig,
    weights: Path,
    records: Path,
    results: Path,
    splits: Sequence[str] = ("test",),
) -> None:
    """Evaluates a classifier's weights on splits of a folder of records.

    Writes results/metrics.json and a results/predictions.csv for the split "test"; any other split
    adds its name: "accuracy_unseen", "accuracy_unseen_low", predictions_unseen.csv.

    Args:
        config: the architecture and the format of the records.
        weights: the classifier's.
        records: the folder of the splits' folders.
        results: the folder to write into.
        splits: their names; the split "test" has config.n_test_samples examples.

    Raises:
        PipelineError: records or weights are missing, damaged or do not fit the config, or a split
            has another number of examples. Nothing is written.
    """
    classifier = build_classifier(config)
    load_weights(classifier, weights)
    metrics: dict[str, float] = {}
    tables: dict[str, list[Prediction]] = {}
    for split in splits:
        values, predictions = evaluate(classifier, config, records / split)
        if split == "test" and len(predictions) != config.n_test_samples:
            raise PipelineError(
                f"{records / split}: {len(predictions)} examples, the params say "
                f"{config.n_test_samples}: delete it and run `dvc repro`"
            )
        suffix = "" if split == "test" else f"_{split}"
        for key, value in values.items():
            name, _, bound = key.partition("_")
            metrics[f"{name}{suffix}{bound and '_'}{bound}"] = value
        tables[f"predictions{suffix}.csv"] = predictions
        print(f"{values['accuracy']:.2%} of {len(predictions)} {split} images are right")
    for name, predictions in tables.items():
        write_csv(results / name, Prediction._fields, predictions)
    write_json(results / "metrics.json", metrics)
