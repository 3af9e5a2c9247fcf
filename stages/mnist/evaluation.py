"""The one evaluation of all pipelines."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stages.mnist.config import MnistConfig
from stages.mnist.dataset import load_batches, reading
from stages.mnist.files import replacing, write_json
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
        The metrics: accuracy, 0..1, and loss, the mean cross-entropy in nats; and the predictions,
        sorted by file name.

    Raises:
        PipelineError: the records are missing, damaged or of another shape than the config says.
    """
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
    correct = sum(p.actual == p.predicted for p in predictions)
    metrics = {
        "accuracy": correct / len(predictions),
        "loss": float(np.mean(losses, dtype=np.float64)),
    }
    return metrics, sorted(predictions)


def evaluate_files(
    config: MnistConfig, records: Path, weights: Path, metrics: Path, predictions: Path
) -> None:
    """Evaluates a classifier's weights on a split and writes its metrics (JSON) and predictions (CSV).

    Raises:
        PipelineError: records or weights are missing, damaged or do not fit the config.
    """
    classifier = build_classifier(config)
    load_weights(classifier, weights)
    values, rows = evaluate(classifier, config, records)
    write_json(metrics, values)
    with replacing(predictions) as path, path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(Prediction._fields)
        table.writerows(row._replace(probability=round(row.probability, 4)) for row in rows)
    print(f"{metrics}: {values['accuracy']:.2%} of {len(rows)} test images are right")
