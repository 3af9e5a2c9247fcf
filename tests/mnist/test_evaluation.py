from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.mnist import evaluate as stage
from stages.mnist.dataset import load_batches
from stages.mnist.errors import PipelineError
from stages.mnist.evaluation import Prediction, evaluate, evaluate_splits
from stages.mnist.example import Example
from stages.mnist.model import build_classifier, load_weights
from stages.mnist.original import FILES
from stages.mnist.records import write_shards, write_splits
from stages.mnist.write_tfrecords import read_shard
from tests.mnist.conftest import Trained
from tests.mnist.test_files import contents
from tests.mnist.test_records import only_shard


@pytest.fixture(scope="module")
def result(trained: Trained) -> tuple[dict[str, float], list[Prediction]]:
    return evaluate(trained.classifier, trained.config, trained.test_records)


@pytest.fixture
def predictions(result: tuple[dict[str, float], list[Prediction]]) -> list[Prediction]:
    return result[1]


def loaded(trained: Trained) -> tuple[Any, Any]:
    """All images and labels of the test split."""
    batches = load_batches(trained.test_records, trained.config).as_numpy_iterator()
    images, labels, _ = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_accuracy_and_loss_agree_with_keras(
    trained: Trained, result: tuple[dict[str, float], list[Prediction]]
) -> None:
    images, labels = loaded(trained)
    classifier = build_classifier(trained.config)
    load_weights(classifier, trained.weights)
    classifier.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = classifier.evaluate(images, labels, verbose=0)
    assert result[0]["accuracy"] == pytest.approx(accuracy)
    assert result[0]["loss"] == pytest.approx(loss, rel=1e-5)


def test_the_accuracy_has_its_interval(
    result: tuple[dict[str, float], list[Prediction]],
) -> None:
    """The limits are the shares that lie 1.96 standard errors of their own from what was found."""
    metrics, predictions = result
    assert set(metrics) == {"accuracy", "accuracy_low", "accuracy_high", "loss"}
    accuracy = metrics["accuracy"]
    for limit in (metrics["accuracy_low"], metrics["accuracy_high"]):
        standard_error = (limit * (1 - limit) / len(predictions)) ** 0.5
        assert abs(accuracy - limit) == pytest.approx(1.96 * standard_error, rel=1e-3)
    assert metrics["accuracy_low"] < accuracy < metrics["accuracy_high"]


def test_each_image_has_one_prediction_in_the_order_of_the_names(
    trained: Trained, predictions: list[Prediction]
) -> None:
    names = [prediction.filename for prediction in predictions]
    assert names == [f"t10k/{i:05d}" for i in range(trained.config.n_test_samples)]


def test_a_prediction_is_the_most_probable_class_with_its_probability(
    trained: Trained, predictions: list[Prediction]
) -> None:
    images, labels = loaded(trained)
    probabilities = trained.classifier.predict(images, verbose=0)
    assert [p.actual for p in predictions] == [str(label) for label in labels]
    assert [p.predicted for p in predictions] == [str(row.argmax()) for row in probabilities]
    np.testing.assert_allclose(
        [p.probability for p in predictions], probabilities.max(1), rtol=1e-4
    )


def test_the_order_of_the_records_does_not_matter(
    trained: Trained, tmp_path: Path, predictions: list[Prediction]
) -> None:
    batches = load_batches(trained.test_records, trained.config).unbatch()
    examples = [
        Example((image * 255).round().astype(np.uint8), int(label), name.decode())
        for image, label, name in batches.as_numpy_iterator()
    ]
    write_splits(tmp_path / "data", {"reversed": reversed(examples)}, trained.config)
    path = tmp_path / "data" / "reversed"
    _, found = evaluate(trained.classifier, trained.config, path)
    assert [p[:3] for p in found] == [p[:3] for p in predictions]


def test_the_size_of_a_batch_does_not_matter(
    trained: Trained, result: tuple[dict[str, float], list[Prediction]]
) -> None:
    config = replace(trained.config, batch_size=7)
    metrics, found = evaluate(trained.classifier, config, trained.test_records)
    assert metrics == pytest.approx(result[0], rel=1e-4)
    assert [p[:3] for p in found] == [p[:3] for p in result[1]]


def test_the_files_say_what_was_evaluated(
    trained: Trained, tmp_path: Path, result: tuple[dict[str, float], list[Prediction]]
) -> None:
    evaluate_splits(trained.config, trained.weights, trained.records, tmp_path / "data")
    assert set(contents(tmp_path)) == {"data/metrics.json", "data/predictions.csv"}
    metrics = json.loads((tmp_path / "data" / "metrics.json").read_text())
    assert metrics == pytest.approx(result[0], abs=1e-6)
    content = (tmp_path / "data" / "predictions.csv").read_bytes().decode()
    assert "\r" not in content
    header, *rows = csv.reader(io.StringIO(content))
    assert header == ["filename", "actual", "predicted", "probability"]
    assert rows == [[*p[:3], str(round(p.probability, 4))] for p in result[1]]


def test_the_results_of_another_split_have_its_name(trained: Trained, tmp_path: Path) -> None:
    splits = ("test", "train")
    evaluate_splits(trained.config, trained.weights, trained.records, tmp_path, splits)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    _, predictions = evaluate(trained.classifier, trained.config, trained.train_records)
    accuracy = sum(p.actual == p.predicted for p in predictions) / len(predictions)
    assert metrics["accuracy_train"] == pytest.approx(accuracy, abs=1e-6)
    assert metrics["accuracy_train_low"] < accuracy < metrics["accuracy_train_high"]
    assert metrics["loss"] != metrics["loss_train"]
    assert {"accuracy", "accuracy_low", "accuracy_high"} < set(metrics)
    rows = (tmp_path / "predictions_train.csv").read_text().splitlines()[1:]
    assert len(rows) == trained.config.n_train_samples
    assert rows[0].startswith("train/00000,")


def test_an_evaluation_writes_the_same_bytes_twice(trained: Trained, project: Path) -> None:
    shutil.copytree(trained.records, stage.RECORDS)
    shutil.copy(trained.weights, stage.CLASSIFIER)
    stage.main()
    before = contents(project)
    assert {"data/mnist/metrics.json", "data/mnist/predictions.csv"} < set(before)
    stage.main()
    assert contents(project) == before


def test_weights_that_do_not_fit_are_refused_and_nothing_is_written(
    trained: Trained, tmp_path: Path
) -> None:
    with pytest.raises(PipelineError, match=r"features\.weights\.h5: not the weights"):
        evaluate_splits(trained.config, trained.features, trained.records, tmp_path)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>Not found</html>"])
def test_damaged_records_are_refused_by_name(
    trained: Trained, tmp_path: Path, content: bytes
) -> None:
    shutil.copytree(trained.test_records, tmp_path / "test")
    only_shard(tmp_path / "test").write_bytes(content)
    with pytest.raises(PipelineError, match=r"test: not the records"):
        evaluate(trained.classifier, trained.config, tmp_path / "test")


def test_missing_records_are_named(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"missing.lengths\.json is missing"):
        evaluate(trained.classifier, trained.config, tmp_path / "missing")


def test_a_split_without_records_is_refused(trained: Trained, tmp_path: Path) -> None:
    write_splits(tmp_path / "data", {"test": []}, trained.config)
    with pytest.raises(PipelineError, match=r"test has no records: delete it and run"):
        evaluate(trained.classifier, trained.config, tmp_path / "data" / "test")


def test_a_test_split_of_another_length_is_refused_and_nothing_is_written(
    trained: Trained, tmp_path: Path
) -> None:
    config = replace(trained.config, n_test_samples=61)
    with pytest.raises(PipelineError, match=r"test: 60 examples, the params say 61: delete it"):
        evaluate_splits(config, trained.weights, trained.records, tmp_path, ("train", "test"))
    assert contents(tmp_path) == {}


def test_shards_are_evaluated_as_one(
    trained: Trained, tmp_path: Path, result: tuple[dict[str, float], list[Prediction]]
) -> None:
    config = replace(trained.config, n_shards=3)
    sources = [tuple(trained.folder / "raw" / name for name in FILES)] * 3
    write_shards(tmp_path / "tfrecords", ("train", "test"), read_shard, sources, config)
    assert len(list((tmp_path / "tfrecords" / "test").glob("*.tfrecord"))) == 3
    assert evaluate(trained.classifier, config, tmp_path / "tfrecords" / "test") == result
