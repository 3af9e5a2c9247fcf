"""Evaluates classifiers: accuracy and loss per split, and one prediction per image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.files import write_csv, write_json
from letterpress.core.tensorflow import tf
from letterpress.evaluation.calibration import (
    Calibration,
    Probabilities,
    calibration_error,
    check_finite,
    fit_calibration,
    reliability,
    write_calibration,
)
from letterpress.evaluation.intervals import family_interval
from letterpress.model.weights import load_classifier
from letterpress.records.read import load_batches, reading

Manifest = Mapping[str, Mapping[str, str]]
"""The family, style, typeface and case of each image, and the split of its family, by file name."""
DESCRIPTION = ("family", "style", "typeface", "case")


class Classified(NamedTuple):
    """A split with a classifier's outputs, sorted by file name."""

    filenames: list[str]
    labels: npt.NDArray[np.int64]
    """0 .. n_outputs - 1 [n]"""
    probabilities: Probabilities
    n_classes: int

    @property
    def classes(self) -> Probabilities:
        """The probabilities of the classes [n, n_classes], without that of no class."""
        return self.probabilities[:, : self.n_classes]

    @property
    def is_class(self) -> npt.NDArray[np.bool_]:
        """Whether each image is one of a class [n]."""
        return self.labels < self.n_classes

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether each image's most probable class is its own [n]."""
        return np.asarray(self.classes.argmax(axis=1) == self.labels)


class Prediction(NamedTuple):
    """An image by its file name, its class, the most probable class, and the probability (0..1)."""

    filename: str
    actual: str
    predicted: str
    probability: float


def classify_split(classifier: Any, config: ClassifierConfig, records: Path) -> Classified:
    """Classifies every image of a split.

    Raises:
        FileNotFoundError: the records are missing.
        PipelineError: the records are empty, damaged or do not fit the config.
    """
    tf.config.experimental.enable_op_determinism()  # the same bits in each run
    rows: list[tuple[str, int, Any]] = []
    with reading(records):
        for images, labels, filenames in load_batches(records, config).as_numpy_iterator():
            probabilities = classifier.predict_on_batch(images)  # [batch, n_outputs]
            names = (filename.decode() for filename in filenames)
            rows += zip(names, map(int, labels), probabilities, strict=True)
    if not rows:
        raise PipelineError(
            f"{records}: no records. Give the split images in params.yaml, and run `dvc repro`"
        )
    filenames, labels, probabilities = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    return Classified(list(filenames), np.array(labels), np.stack(probabilities), config.n_classes)


def list_predictions(split: Classified, config: ClassifierConfig) -> list[Prediction]:
    """Lists the most probable class of each image; "none" is never predicted, only improbable."""
    rows = zip(split.filenames, split.labels, split.classes, strict=True)
    return [
        Prediction(
            filename, config.output_names[label], config.class_names[row.argmax()], float(row.max())
        )
        for filename, label, row in rows
    ]


def measure_split(split: Classified, calibration: Calibration) -> dict[str, float]:
    """Measures a classifier on a split.

    Returns:
        On the images of a class: accuracy (0..1) and the ends of its 95 % interval, accuracy_low
        and accuracy_high (Wilson 1927, for independent images); loss, the mean cross-entropy in
        nats; calibration_error (see `calibration_error`); sure, the share of sure guesses,
        accuracy_sure, that of the sure guesses, and wrong_sure, the share of all images that are
        wrong and sure. With images of no class, none_sure is the share of those that are sure.
    """
    own = split.is_class
    are_sure = calibration.are_sure(split.probabilities, split.n_classes)
    correct, sure = split.correct[own], are_sure[own]
    of_label = split.probabilities[np.flatnonzero(own), split.labels[own]]
    interval = binomtest(int(correct.sum()), len(correct)).proportion_ci(method="wilson")
    losses = -np.log(np.maximum(of_label, 1e-7))  # as Keras does
    metrics = {
        "accuracy": float(correct.mean()),
        "accuracy_low": float(interval.low),
        "accuracy_high": float(interval.high),
        "loss": float(np.mean(losses, dtype=np.float64)),
        "calibration_error": calibration_error(split.classes[own].max(axis=1), correct),
        "sure": float(sure.mean()),
        "accuracy_sure": float(correct[sure].mean()) if sure.any() else 1.0,
        "wrong_sure": float((sure & ~correct).mean()),
    }
    if not own.all():
        metrics["none_sure"] = float(are_sure[~own].mean())
    return metrics


def measure_classes(split: Classified, config: ClassifierConfig) -> dict[str, Any]:
    """Measures a classifier on each class of a split.

    Returns:
        recall, the share of right guesses among the images of each class that has images, 0..1 by
        class name; macro_accuracy, the mean of these shares.
    """
    correct = split.correct
    recall = {
        name: float(correct[split.labels == label].mean())
        for label, name in enumerate(config.class_names)
        if (split.labels == label).any()
    }
    return {"macro_accuracy": float(np.mean([*recall.values()])), "recall": recall}


def measure_families(
    split: Classified,
    config: ClassifierConfig,
    calibration: Calibration,
    manifest: Manifest,
    families: str,
) -> dict[str, float]:
    """Measures a classifier on letters in typeface families of one split, in `manifest`.

    Returns:
        accuracy, the mean over the families, and its 95 % interval accuracy_low and accuracy_high
        (see `family_interval`); accuracy_STYLE, the mean over the families of a style, and of text
        (serif, sans-serif, monospace); accuracy_pen, of letters of a pen. With images of no class,
        none_sure_CASE is the share of those of a case that are sure.
    """
    rows = [manifest[name] for name in split.filenames]
    kept = [
        (row["style"], row["family"], f"{row['typeface']}/{row['case']}/{label}", right)
        for row, label, right in zip(rows, split.labels, split.correct, strict=True)
        if row["families"] == families and label < split.n_classes
    ]
    styles, names, glyphs, rights = map(np.array, zip(*kept, strict=True))
    pen = styles == "pen"  # hands, not typefaces: they have an accuracy of their own
    interval = family_interval(rights[~pen], names[~pen], glyphs[~pen], seed=config.data_seed)
    metrics = dict(zip(("accuracy", "accuracy_low", "accuracy_high"), interval, strict=True))
    groups = {style: styles == style for style in sorted(set(styles))}
    groups["text"] = np.isin(styles, ("serif", "sans-serif", "monospace"))
    for style, members in groups.items():
        means = [rights[members & (names == name)].mean() for name in set(names[members])]
        # A set has no order of its own, and sums of floats depend on it.
        metrics[f"accuracy_{style.replace('-', '_')}"] = float(np.mean(sorted(means)))
    sure = calibration.are_sure(split.probabilities, split.n_classes)
    cases = np.array([row["case"] for row in rows])
    for case in np.unique(cases[~split.is_class]):
        metrics[f"none_sure_{case}"] = float(sure[~split.is_class & (cases == case)].mean())
    return metrics


def evaluate_splits(
    config: ClassifierConfig,
    weights: Path,
    records: Path,
    results: Path,
    splits: Sequence[str] = ("test",),
    manifest: Manifest | None = None,
    by_class: bool = False,
) -> None:
    """Writes metrics.json, calibration.json, reliability.csv and, for "test", predictions.csv.

    Other splits add their name: accuracy_unseen, accuracy_unseen_low, predictions_unseen.csv. The
    calibration is fitted on the split "validation" if `splits` has it. With a manifest, predictions
    have its DESCRIPTION, and the accuracy of all splits but "test" is the mean over their families.
    `by_class` adds what `measure_classes` returns.

    Raises:
        FileNotFoundError: the records are missing.
        PipelineError: weights or records are damaged or do not fit the config. Nothing is written.
    """
    classifier = load_classifier(config, weights)
    classified = {split: classify_split(classifier, config, records / split) for split in splits}
    for split in classified.values():
        check_finite(split.probabilities, weights)
    calibration = Calibration()
    if "validation" in classified:
        _, labels, probabilities, n_classes = classified["validation"]
        calibration = fit_calibration(probabilities, labels, n_classes)
    metrics: dict[str, Any] = {}
    tables: dict[str, list[tuple[object, ...]]] = {}
    curve: list[tuple[str, float, float, int]] = []
    for name, raw in classified.items():
        split = raw._replace(probabilities=calibration.apply(raw.probabilities))
        suffix = "" if name == "test" else f"_{name}"
        values: dict[str, Any] = measure_split(split, calibration)
        if manifest and name != "test":
            values |= measure_families(split, config, calibration, manifest, name)
        if by_class:
            values |= measure_classes(split, config)
        metrics |= {_suffixed(key, suffix): value for key, value in values.items()}
        own = split.is_class
        points = reliability(split.classes[own].max(axis=1), split.correct[own])
        curve += [(name, *point) for point in points]
        tables[f"predictions{suffix}.csv"] = [
            (*row, *((manifest[row.filename][key] for key in DESCRIPTION) if manifest else ()))
            for row in list_predictions(split, config)
        ]
        print(f"{records / name}: accuracy {values['accuracy']:.2%} of {own.sum()}")
    header = Prediction._fields + (DESCRIPTION if manifest else ())
    for file, rows in tables.items():
        write_csv(results / file, header, rows)
    write_csv(results / "reliability.csv", ("split", "probability", "accuracy", "n"), curve)
    write_calibration(results / "calibration.json", calibration)
    write_json(results / "metrics.json", metrics)


def _suffixed(key: str, suffix: str) -> str:
    """Adds the split's name: loss becomes loss_unseen, accuracy_low becomes accuracy_unseen_low."""
    first, _, rest = key.partition("_")
    return f"{first}{suffix}_{rest}" if rest and first == "accuracy" else f"{key}{suffix}"
