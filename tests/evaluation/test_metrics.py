"""Evaluation on a small trained classifier."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from letterpress.core.errors import PipelineError
from letterpress.evaluation.metrics import Prediction, evaluate, evaluate_splits
from letterpress.mnist.examples import draw_examples
from letterpress.model.network import build_classifier
from letterpress.records.read import load_batches
from letterpress.records.write import write_splits
from tests.trained import Trained

Result = tuple[dict[str, float], list[Prediction]]


@pytest.fixture(scope="module")
def result(trained: Trained) -> Result:
    return evaluate(trained.classifier, trained.config, trained.test_records)


def test_metrics_and_predictions_agree_with_keras(trained: Trained, result: Result) -> None:
    metrics, predictions = result
    batches = load_batches(trained.test_records, trained.config).as_numpy_iterator()
    images, labels, _ = map(np.concatenate, zip(*batches, strict=True))
    classifier = build_classifier(trained.config)
    classifier.load_weights(trained.weights)
    classifier.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    expected = classifier.evaluate(images, labels, verbose=0)
    assert [metrics["loss"], metrics["accuracy"]] == pytest.approx(expected, rel=1e-5)
    rows = classifier.predict(images, verbose=0)
    assert [p.filename for p in predictions] == [f"t10k/{i:05d}" for i in range(60)]
    assert [p.actual for p in predictions] == [str(label) for label in labels]
    assert [p.predicted for p in predictions] == [str(row.argmax()) for row in rows]
    assert [p.probability for p in predictions] == pytest.approx(list(rows.max(1)), rel=1e-4)
    accuracy, low, high = (metrics[f"accuracy{end}"] for end in ("", "_low", "_high"))
    assert low < accuracy < high
    for end in (low, high):  # Wilson: each end is 1.96 of its own standard errors away
        standard_error = (end * (1 - end) / len(predictions)) ** 0.5
        assert abs(accuracy - end) == pytest.approx(1.96 * standard_error, rel=1e-3)


def test_the_order_of_the_records_and_the_batch_size_do_not_matter(
    trained: Trained, tmp_path: Path, result: Result
) -> None:
    config = trained.config.replace(batch_size=7)
    examples = draw_examples(trained.folder / "raw", "t10k", 60, config, 0)
    write_splits(tmp_path / "data", {"reversed": reversed(list(examples))}, config)
    metrics, predictions = evaluate(trained.classifier, config, tmp_path / "data/reversed")
    assert metrics == pytest.approx(result[0], rel=1e-4)
    assert [p[:3] for p in predictions] == [p[:3] for p in result[1]]


def test_files_name_the_split_and_a_second_run_writes_the_same_bytes(
    trained: Trained, tmp_path: Path, result: Result
) -> None:
    runs = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        splits = ("test", "train")
        evaluate_splits(trained.config, trained.weights, trained.records, folder, splits)
        runs.append({path.name: path.read_bytes().decode() for path in folder.iterdir()})
    files = runs[0]
    assert runs[1] == files
    assert {*files} == {"metrics.json", "predictions.csv", "predictions_train.csv"}
    metrics = json.loads(files["metrics.json"])
    train, _ = evaluate(trained.classifier, trained.config, trained.train_records, "_train")
    assert metrics == pytest.approx(result[0] | train, abs=1e-6)
    assert {"accuracy_train", "accuracy_train_low", "loss_train"} < metrics.keys()
    header, *rows = files["predictions.csv"].split("\n")[:-1]
    assert header == "filename,actual,predicted,probability"
    assert rows == [",".join([*p[:3], str(round(p.probability, 4))]) for p in result[1]]
    assert len(files["predictions_train.csv"].splitlines()) == 1 + trained.config.n_train_samples


def test_an_evaluation_that_fails_writes_nothing(trained: Trained, tmp_path: Path) -> None:
    classifier = build_classifier(trained.config)
    classifier.weights[0].assign(np.full_like(classifier.weights[0], np.nan))
    classifier.save_weights(nan := tmp_path / "nan.weights.h5")
    too_few = trained.config.replace(n_test_samples=61)
    for config, weights, message in [
        (trained.config, trained.features, r"features\.weights\.h5: not the weights"),
        (trained.config, nan, r"nan\.weights\.h5: .*contains NaN"),
        (too_few, trained.weights, r"test: expected 61 examples \(got 60\)"),
    ]:
        with pytest.raises(PipelineError, match=message):
            evaluate_splits(config, weights, trained.records, tmp_path / "new", ("train", "test"))
        assert not (tmp_path / "new").exists()


def test_damaged_and_empty_records_are_refused(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.test_records, tmp_path / "damaged/test")
    next((tmp_path / "damaged/test").glob("*.tfrecord")).write_bytes(b"<!DOCTYPE html>")
    write_splits(tmp_path / "data", {"empty": []}, trained.config)
    for folder, message in (
        ("damaged/test", "the records are damaged"),
        ("data/empty", "no records"),
    ):
        with pytest.raises(PipelineError, match=f"{folder}: {message}"):
            evaluate(trained.classifier, trained.config, tmp_path / folder)
