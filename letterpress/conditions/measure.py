"""Measures the classifiers on pictures as people take them, under one condition at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from letterpress.conditions.pictures import CONDITIONS, NOTHING, TWO, Bytes, prepare_pictures
from letterpress.core.config import ClassifierConfig, Count
from letterpress.core.files import write_csv, write_json
from letterpress.core.params import Params
from letterpress.evaluation.calibration import read_calibration
from letterpress.jobs.processes import local_map
from letterpress.prediction.classify import Answer, classify, open_classifier
from letterpress.prediction.ink import Floats

TENSORS = "ready-made tensors"


class ConditionsConfig(Params):
    """How many pictures are drawn."""

    inherits_root: ClassVar[bool] = False

    n_images: Count = 300
    """Test images per condition and pipeline; all of them if there are fewer."""


class Pipeline(NamedTuple):
    """A trained classifier and its test images."""

    name: str
    config: ClassifierConfig
    weights: Path
    calibration: Path
    records: Path


class Score(NamedTuple):
    """Shares of all pictures, 0..1."""

    accuracy: float
    """Right class. For two characters and no character: the share that is noticed."""
    sure: float
    """See `Calibration.are_sure`."""
    accuracy_when_sure: float | None
    """None if no guess was sure."""
    wrong_and_sure: float


def score(
    condition: str,
    found: Sequence[Sequence[Floats]],
    answers: Sequence[Answer],
    names: Sequence[str],
    sure_from: float,
) -> Score:
    """Scores the characters found in each picture; `answers` are those of the single ones."""
    remaining = iter(answers)
    right = np.zeros(len(found), np.bool_)
    sure = np.zeros(len(found), np.bool_)
    for index, (characters, name) in enumerate(zip(found, names, strict=True)):
        if len(characters) != 1:
            right[index] = condition == NOTHING or (condition == TWO and len(characters) > 1)
            continue
        answer = next(remaining)
        sure[index] = answer.is_sure(sure_from)
        if condition in (TWO, NOTHING):
            right[index] = condition == NOTHING and answer.is_none
        else:
            right[index] = not answer.is_none and answer.guesses[0].name == name
    when_sure = float(right[sure].mean()) if sure.any() else None
    wrong_and_sure = float((sure & ~right).mean())
    return Score(float(right.mean()), float(sure.mean()), when_sure, wrong_and_sure)


def write_conditions(
    pipelines: Sequence[Pipeline], n_images: int, seed: int, results: Path
) -> None:
    """Writes accuracy_by_condition.csv and metrics.json to `results`.

    Raises:
        FileNotFoundError: records are missing.
        PipelineError: weights, calibration or records are damaged or do not fit the config.
    """
    tests = [_read_tests(pipeline, n_images, seed) for pipeline in pipelines]
    calls = [
        (pipeline.config, condition, images, (seed, row, column))
        for row, (pipeline, (images, _)) in enumerate(zip(pipelines, tests, strict=True))
        for column, condition in enumerate(CONDITIONS)
    ]
    prepared = local_map(prepare_pictures, calls)  # the slow part, in parallel; in order
    scores = [
        _score_pipeline(pipeline, images, names, prepared)
        for pipeline, (images, names) in zip(pipelines, tests, strict=True)
    ]
    columns = [f"{pipeline.name}_{field}" for pipeline in pipelines for field in Score._fields]
    rows = [(name, *(v for by in scores for v in by[name])) for name in scores[0]]
    write_csv(results / "accuracy_by_condition.csv", ("condition", *columns), rows)
    metrics = {
        pipeline.name: {
            name: {"accuracy": value.accuracy, "wrong_and_sure": value.wrong_and_sure}
            for name, value in by.items()
        }
        for pipeline, by in zip(pipelines, scores, strict=True)
    }
    write_json(results / "metrics.json", metrics)
    print(f"{results}: {len(rows)} conditions, {n_images} pictures each")


def _read_tests(pipeline: Pipeline, n_images: int, seed: int) -> tuple[Bytes, list[str]]:
    """Draws test images of the classes at random.

    Returns:
        The images, uint8 0..255 [n, height, width], and the names of their classes.
    """
    # Only this process imports TensorFlow; those that prepare pictures do not.
    from letterpress.records.read import load_batches, reading

    config = pipeline.config
    with reading(pipeline.records):
        batches = list(load_batches(pipeline.records, config).as_numpy_iterator())
    images, labels = (np.concatenate([batch[i] for batch in batches]) for i in (0, 1))
    of_class = np.flatnonzero(labels < config.n_classes)
    drawn = np.sort(np.random.default_rng(seed).permutation(of_class)[:n_images])
    grey = np.round(images[drawn].mean(axis=3) * 255).astype(np.uint8)
    return grey, [config.class_names[label] for label in labels[drawn]]


def _score_pipeline(
    pipeline: Pipeline,
    images: Bytes,
    names: Sequence[str],
    prepared: Iterator[list[list[Floats]]],
) -> dict[str, Score]:
    """Scores the test images themselves, then what was prepared of them under each condition."""
    config, calibration = pipeline.config, read_calibration(pipeline.calibration)
    classifier = open_classifier(config, pipeline.weights)
    tensors = np.repeat(images[..., np.newaxis] / np.float32(255), config.n_channels, axis=3)
    scores = {}
    for condition in (TENSORS, *CONDITIONS):
        found = [[image] for image in tensors] if condition == TENSORS else next(prepared)
        single = [characters[0] for characters in found if len(characters) == 1]
        # As `predict` does, a picture with no character or with several gets no answer.
        answers = classify(classifier, np.stack(single), config, calibration) if single else []
        scores[condition] = score(condition, found, answers, names, calibration.sure)
    return scores
