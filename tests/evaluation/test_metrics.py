"""Evaluation on a small trained classifier."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from letterpress.core.errors import PipelineError
from letterpress.evaluation.calibration import Calibration, fit_calibration, read_calibration
from letterpress.evaluation.metrics import (
    Classified,
    Prediction,
    classify_split,
    evaluate_splits,
    list_predictions,
    measure_classes,
    measure_families,
    measure_split,
)
from letterpress.mnist.config import MnistConfig
from letterpress.mnist.examples import SPLITS, draw_examples, list_sources, read_shard
from letterpress.model.network import build_classifier
from letterpress.records.read import load_batches
from letterpress.records.write import run_here, write_shards, write_splits
from tests.core.test_files import contents
from tests.model.test_weights import overflow
from tests.trained import Trained

Result = tuple[dict[str, float], list[Prediction]]


def evaluate(trained: Trained, records: Path) -> Result:
    split = classify_split(trained.classifier, trained.config, records)
    metrics = measure_split(split, Calibration())
    return metrics, list_predictions(split, trained.config)


@pytest.fixture(scope="module")
def result(trained: Trained) -> Result:
    return evaluate(trained, trained.test_records)


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
    examples = draw_examples(trained.folder / "raw", "test", config)
    write_splits(tmp_path / "data", {"reversed": reversed(list(examples))}, config)
    metrics, predictions = evaluate(trained, tmp_path / "data/reversed")
    assert metrics == pytest.approx(result[0], rel=1e-4)
    assert [p[:3] for p in predictions] == [p[:3] for p in result[1]]


def test_records_in_several_shards_are_evaluated_like_those_in_one(
    trained: Trained, tmp_path: Path
) -> None:
    config = trained.config.replace(n_shards=3)
    sources = list_sources(trained.folder / "raw", config)
    write_shards(tmp_path / "records", SPLITS, read_shard, sources, config, run_here)
    shards = {path.name for path in (tmp_path / "records/test").glob("*.tfrecord")}
    assert shards == {f"test-0000{index}-of-00003.tfrecord" for index in range(3)}
    for name, records in (("one", trained.records), ("three", tmp_path / "records")):
        evaluate_splits(config, trained.weights, records, tmp_path / name)
    assert contents(tmp_path / "three") == contents(tmp_path / "one")


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
    tables = {"predictions.csv", "predictions_train.csv"}
    assert {*files} == {"calibration.json", "metrics.json", "reliability.csv", *tables}
    metrics = json.loads(files["metrics.json"])
    assert {k: metrics[k] for k in result[0]} == pytest.approx(result[0], abs=1e-6)
    train, _ = evaluate(trained, trained.train_records)
    for key, name in (("accuracy_low", "accuracy_train_low"), ("wrong_sure", "wrong_sure_train")):
        assert metrics[name] == pytest.approx(train[key], abs=1e-6)
    points = [row.split(",") for row in files["reliability.csv"].splitlines()[1:]]
    assert sum(int(n) for split, _, _, n in points if split == "train") == 200
    header, *rows = files["predictions.csv"].split("\n")[:-1]
    assert header == "filename,actual,predicted,probability"
    assert rows == [",".join([*p[:3], str(round(p.probability, 4))]) for p in result[1]]
    assert len(files["predictions_train.csv"].splitlines()) == 1 + trained.config.n_train_samples


def test_an_evaluation_that_fails_writes_nothing(trained: Trained, tmp_path: Path) -> None:
    classifier = build_classifier(trained.config)
    classifier.weights[0].assign(np.full_like(classifier.weights[0], np.nan))
    classifier.save_weights(nan := tmp_path / "nan.weights.h5")
    huge = overflow(classifier, tmp_path / "huge.weights.h5")
    for config, weights, message in [
        (trained.config, trained.features, r"features\.weights\.h5: not the weights"),
        (trained.config, nan, r"nan\.weights\.h5: .*has NaN"),
        (trained.config, huge, r"huge\.weights\.h5: expected finite probabilities"),
        (trained.config, trained.weights, "missing: no records|No such file"),
    ]:
        splits = ("train", "missing" if weights == trained.weights else "test")
        with pytest.raises((PipelineError, FileNotFoundError), match=message):
            evaluate_splits(config, weights, trained.records, tmp_path / "new", splits)
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
            evaluate(trained, tmp_path / folder)


CONFIG = MnistConfig(n_classes=2, none_share=0.25)  # a third output: none
SPLIT = Classified(
    ["a", "b", "c", "d", "e", "f"],
    np.array([0, 0, 1, 1, 2, 2]),
    np.array(
        [[0.9, 0.1, 0], [0.4, 0.6, 0], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7], [0, 0, 1], [0.8, 0, 0.2]],
        np.float32,
    ),
    CONFIG.n_classes,
)


def test_images_of_no_class_count_only_as_sure_or_not() -> None:
    metrics = measure_split(SPLIT, Calibration(sure=0.55))
    assert metrics["accuracy"] == 0.75  # d is right: of the classes, its own is the most probable
    assert [metrics["sure"], metrics["accuracy_sure"]] == pytest.approx([0.75, 2 / 3])
    assert (metrics["wrong_sure"], metrics["none_sure"]) == (0.25, 0.5)
    rows = [row[1:] for row in list_predictions(SPLIT, CONFIG)]
    assert rows[3:5] == [("1", "1", pytest.approx(0.2)), ("none", "0", 0)]


def test_accuracy_is_the_mean_over_the_families_of_the_split() -> None:
    described = (
        ("serif", "A", "unseen"),
        ("serif", "B", "unseen"),
        ("script", "C", "unseen"),
        ("script", "C", "train"),
        ("words", "none", "unseen"),
        ("dots", "none", "unseen"),
    )
    manifest = {
        name: {
            "style": style,
            "family": family,
            "families": split,
            "typeface": family,
            "case": "new",
        }
        for name, (style, family, split) in zip(SPLIT.filenames, described, strict=True)
    }
    metrics = measure_families(SPLIT, CONFIG, Calibration(sure=0.55), manifest, "unseen")
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]
    assert (metrics["accuracy_serif"], metrics["accuracy_text"]) == (0.5, 0.5)
    assert (metrics["accuracy_script"], metrics["none_sure_new"]) == (1, 0.5)


def test_a_calibration_makes_probabilities_true_and_most_guesses_sure(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random((len(true), 1)) > true.cumsum(axis=1)).sum(axis=1)
    powers = true**2.5  # too sure: a temperature of 0.4
    calibration = fit_calibration(
        np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32), labels, 3
    )
    assert calibration.temperature == pytest.approx(2.5, rel=0.05)
    best = calibration.apply(np.asarray(powers, np.float32)).max(axis=1)
    assert np.mean(best >= calibration.sure) == pytest.approx(0.9, abs=0.01)
    for content in (
        *("", "{}", "1", "[1, 0.9]", '{"temperature": "1", "sure": 0.9}'),
        *('{"temperature": 0.001, "sure": 1}', '{"temperature": NaN, "sure": 1}'),
    ):
        (tmp_path / "c.json").write_text(content)
        with pytest.raises(PipelineError, match=r"c\.json: damaged"):
            read_calibration(tmp_path / "c.json")


def test_classes_without_images_do_not_count_in_the_macro_accuracy() -> None:
    config = MnistConfig(n_classes=3)
    rows = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1]]
    split = Classified(list("abcde"), np.array([0, 0, 0, 0, 1]), rows, 3)
    assert measure_classes(split, config) == {
        "macro_accuracy": 0.875,
        "recall": {"0": 0.75, "1": 1.0},
    }
