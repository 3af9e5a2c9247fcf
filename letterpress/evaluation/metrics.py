"""Evaluates classifiers: accuracy and loss per split, and one prediction per image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.files import write_csv, write_json
from letterpress.core.tensorflow import tf
from letterpress.model.network import build_classifier
from letterpress.model.weights import load_weights
from letterpress.records.read import load_batches, reading


class Prediction(NamedTuple):
    """An image (named as in its source), its class, and the most probable class (0..1)."""

    filename: str
    actual: str
    predicted: str
    probability: float


def evaluate(
    classifier: Any, config: ClassifierConfig, records: Path, suffix: str = ""
) -> tuple[dict[str, float], list[Prediction]]:
    """Classifies every image of a split.

    Returns:
        The metrics, and the predictions sorted by file name. The metrics are accuracy (0..1), the
        ends of its 95 % interval accuracy_low and accuracy_high (Wilson 1927, for independent
        images), and loss, the mean cross-entropy in nats. `suffix` follows "accuracy" and "loss".

    Raises:
        FileNotFoundError: the records are missing.
        PipelineError: the records are empty, damaged or do not fit the config.
    """
    tf.config.experimental.enable_op_determinism()
    predictions: list[Prediction] = []
    losses: list[float] = []
    with reading(records):
        for images, labels, filenames in load_batches(records, config).as_numpy_iterator():
            probabilities = classifier.predict_on_batch(images)  # [batch, n_classes]
            losses.extend(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)))
            for filename, label, row in zip(filenames, labels, probabilities, strict=True):
                actual, predicted = config.class_names[label], config.class_names[row.argmax()]
                predictions.append(
                    Prediction(filename.decode(), actual, predicted, float(row.max()))
                )
    if not predictions:
        raise PipelineError(f"{records}: no records. Delete the folder and run `dvc repro`")
    n_correct = sum(p.actual == p.predicted for p in predictions)
    interval = binomtest(n_correct, len(predictions)).proportion_ci(method="wilson")
    metrics = {
        f"accuracy{suffix}": n_correct / len(predictions),
        f"accuracy{suffix}_low": float(interval.low),
        f"accuracy{suffix}_high": float(interval.high),
        f"loss{suffix}": float(np.mean(losses, dtype=np.float64)),
    }
    return metrics, sorted(predictions)


def evaluate_splits(
    config: ClassifierConfig,
    weights: Path,
    records: Path,
    results: Path,
    splits: Sequence[str] = ("test",),
) -> None:
    """Writes a classifier's metrics.json, and predictions.csv for the split "test", to `results`.

    Other splits add their name: accuracy_unseen, accuracy_unseen_low, predictions_unseen.csv.

    Raises:
        FileNotFoundError: the records are missing.
        PipelineError: weights or records are damaged or do not fit the config, or the split "test"
            does not have config.n_test_samples examples. Nothing is written.
    """
    classifier = build_classifier(config)
    load_weights(classifier, weights)
    metrics: dict[str, float] = {}
    tables: dict[str, list[Prediction]] = {}
    for split in splits:
        suffix = "" if split == "test" else f"_{split}"
        values, predictions = evaluate(classifier, config, records / split, suffix)
        if split == "test" and len(predictions) != config.n_test_samples:
            raise PipelineError(
                f"{records / split}: expected {config.n_test_samples} examples "
                f"(got {len(predictions)}). Delete the folder and run `dvc repro`"
            )
        metrics |= values
        tables[f"predictions{suffix}.csv"] = predictions
        accuracy = values[f"accuracy{suffix}"]
        print(f"{records / split}: accuracy {accuracy:.2%} of {len(predictions)}")
    for name, predictions in tables.items():
        write_csv(results / name, Prediction._fields, predictions)
    write_json(results / "metrics.json", metrics)
