from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.mnist import train as stage
from stages.mnist.backend import keras
from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError
from stages.mnist.evaluation import evaluate
from stages.mnist.model import build_classifier, build_features, load_weights
from stages.mnist.training import train
from tests.mnist.conftest import Trained
from tests.mnist.test_files import contents
from tests.mnist.test_model import bits


def curve(folder: Path, metric: str) -> list[float]:
    lines = (folder / "plots" / "metrics" / f"{metric}.tsv").read_text().splitlines()
    assert lines[0] == f"step\t{metric}"
    steps, values = zip(*(line.split("\t") for line in lines[1:]), strict=True)
    assert list(steps) == [str(step) for step in range(len(steps))]
    return [float(value) for value in values]


def test_training_twice_gives_the_same_weights_to_the_bit(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.curves, tmp_path / "curves")  # of an older run
    again = train(trained.config, trained.train_records, tmp_path / "curves")
    assert bits(again) == bits(trained.classifier)
    assert contents(tmp_path / "curves") == contents(trained.curves)


def test_the_loss_falls_and_the_accuracy_rises(trained: Trained) -> None:
    losses, accuracies = (curve(trained.curves, name) for name in ("loss", "accuracy"))
    assert len(losses) == len(accuracies) == trained.config.n_epochs
    assert losses[-1] < losses[0]
    assert accuracies[-1] > accuracies[0]


def test_the_curves_keep_six_digits(trained: Trained) -> None:
    values = curve(trained.curves, "loss") + curve(trained.curves, "accuracy")
    assert values == [round(value, 6) for value in values]


def test_what_was_learnt_holds_for_images_never_seen(trained: Trained) -> None:
    metrics, _ = evaluate(trained.classifier, trained.config, trained.test_records)
    assert metrics["accuracy"] > 0.5


def test_the_last_values_stand_beside_the_curves(trained: Trained) -> None:
    metrics = json.loads((trained.curves / "metrics.json").read_text())
    last = {name: curve(trained.curves, name)[-1] for name in ("loss", "accuracy")}
    assert metrics == last | {"step": trained.config.n_epochs - 1}


def test_training_writes_the_curves_and_nothing_else(trained: Trained) -> None:
    """Above all no dvc.yaml, which DVCLive would write."""
    made_before = {"params.yaml", "raw", "tfrecords"}
    made_after = {"features.weights.h5", "classifier.weights.h5"}
    found = {path.name for path in trained.folder.iterdir()} - made_before - made_after
    assert found == {"curves"}
    plots = {f"plots/metrics/{name}.tsv" for name in ("loss", "accuracy")}
    assert set(contents(trained.curves)) == plots | {"metrics.json"}


def test_features_that_are_not_frozen_learn(trained: Trained) -> None:
    keras.utils.set_random_seed(trained.config.seed)
    start = build_classifier(trained.config).get_layer("features").get_weights()
    end = trained.classifier.get_layer("features").get_weights()
    assert not any(np.array_equal(a, b) for a, b in zip(start, end, strict=True))


@pytest.fixture
def short(trained: Trained) -> MnistConfig:
    """One epoch in few steps."""
    return replace(trained.config, n_epochs=1, batch_size=100)


def test_frozen_features_are_the_parents_to_the_bit(
    trained: Trained, short: MnistConfig, tmp_path: Path
) -> None:
    config = replace(short, pretrained_features=True, freeze_features=True)
    child = train(config, trained.train_records, tmp_path, trained.features)
    parent = trained.classifier
    assert bits(child.get_layer("features")) == bits(parent.get_layer("features"))
    assert bits(child) != bits(parent)


def test_features_that_are_not_asked_for_are_left_alone(trained: Trained, tmp_path: Path) -> None:
    assert not trained.config.pretrained_features
    found = train(trained.config, trained.train_records, tmp_path, trained.features)
    assert bits(found) == bits(trained.classifier)


def test_freezing_features_that_were_never_trained_is_refused(
    trained: Trained, short: MnistConfig, tmp_path: Path
) -> None:
    config = replace(short, pretrained_features=False, freeze_features=True)
    with pytest.raises(PipelineError, match="would keep random features"):
        train(config, trained.train_records, tmp_path / "curves")


def test_a_training_that_diverges_is_refused(
    trained: Trained, short: MnistConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(short, optimizer="sgd", learning_rate=10.0, learning_rate_schedule="constant")
    overflowing = keras.optimizers.SGD(1e30)
    monkeypatch.setattr("stages.mnist.training.build_optimizer", lambda *_: overflowing)
    with pytest.raises(PipelineError, match="diverged"):
        train(config, trained.train_records, tmp_path / "curves")


def test_pretrained_features_without_a_parent_are_refused(
    trained: Trained, short: MnistConfig, tmp_path: Path
) -> None:
    config = replace(short, pretrained_features=True)
    with pytest.raises(PipelineError, match=r"set mnist\.pretrained_features to false"):
        train(config, trained.train_records, tmp_path / "curves")
    assert not (tmp_path / "curves").exists()


def test_pretrained_features_of_another_network_are_refused(
    trained: Trained, short: MnistConfig, tmp_path: Path
) -> None:
    config = replace(short, pretrained_features=True)
    with pytest.raises(PipelineError, match="not the weights of this features"):
        train(config, trained.train_records, tmp_path / "curves", trained.weights)


def test_missing_records_are_named(short: MnistConfig, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"missing.lengths\.json is missing"):
        train(short, tmp_path / "missing", tmp_path / "curves")


def test_records_that_do_not_fit_the_params_are_named(
    trained: Trained, short: MnistConfig, tmp_path: Path
) -> None:
    with pytest.raises(PipelineError, match="test: 60 examples, the params say 200"):
        train(short, trained.test_records, tmp_path / "curves")


def test_the_stage_writes_the_classifier_and_the_features_within_it(
    trained: Trained, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.RECORDS.parent.mkdir(parents=True)
    shutil.copytree(trained.train_records, stage.RECORDS)

    def train(config: MnistConfig, records: Path, curves: Path, checkpoint: Path) -> Any:
        shutil.copytree(trained.curves, curves)
        return trained.classifier

    monkeypatch.setattr(stage, "train", train)
    stage.main()
    assert contents(stage.CURVES) == contents(trained.curves)
    features, classifier = build_features(trained.config), build_classifier(trained.config)
    load_weights(features, project / "data/mnist/features.weights.h5")
    load_weights(classifier, project / "data/mnist/classifier.weights.h5")
    assert stage.CLASSIFIER.stat().st_size < 1.1 * 4 * classifier.count_params()  # and no optimizer
    assert bits(classifier) == bits(trained.classifier)
    assert bits(features) == bits(trained.classifier.get_layer("features"))


def test_a_git_repository_without_a_commit_is_told_of_in_one_line(
    project: Path, trained: Trained
) -> None:
    subprocess.run(["git", "init", "--quiet"], check=True)
    with pytest.raises(PipelineError, match="git repository: Empty git repo; commit"):
        train(trained.config, trained.train_records, project / "curves")
    assert not (project / "curves").exists()
