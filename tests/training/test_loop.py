import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras
from letterpress.evaluation.metrics import classify_split
from letterpress.mnist.config import MnistConfig
from letterpress.model.network import build_classifier
from letterpress.model.weights import load_weights
from letterpress.records.example import Example
from letterpress.records.write import write_splits
from letterpress.training import loop
from letterpress.training.checkpoint import Checkpoint
from letterpress.training.loop import balanced_weights, train
from stages import train_mnist
from tests.conftest import copy_project
from tests.core.test_files import contents
from tests.model.test_weights import bits
from tests.records.test_records import only_shard
from tests.trained import Trained

STILL: dict[str, Any] = {f"max_{name}": 0.0 for name in ("rotation", "shift", "zoom", "shear")}


def test_training_learns_and_writes_only_the_curves(trained: Trained) -> None:
    test = classify_split(trained.classifier, trained.config, trained.test_records)
    assert (test.probabilities.argmax(axis=1) == test.labels).mean() > 0.5
    last = json.loads((trained.curves / "metrics.json").read_text())
    assert last == {name: round(value, 6) for name, value in last.items()}
    assert last["step"] == trained.config.n_epochs - 1
    changes = {"loss": -1, "accuracy": 1, "validation_loss": -1}
    for name, change in changes.items():
        lines = (trained.curves / f"plots/metrics/{name}.tsv").read_text().splitlines()
        first, second = (float(line.split("\t")[1]) for line in lines[1:])
        assert second == last[name]
        assert change * (second - first) > 0
    plots = {f"plots/metrics/{name}.tsv" for name in (*changes, "validation_accuracy")}
    assert set(contents(trained.curves)) == plots | {"metrics.json"}
    assert not (trained.folder / "dvc.yaml").exists()


def test_a_step_is_traced_once(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced, train_step = [], keras.Sequential.train_step

    def note(self: Any, batch: Any) -> Any:
        traced.append(batch)
        return train_step(self, batch)

    monkeypatch.setattr(keras.Sequential, "train_step", note)
    train(trained.config, trained.records, tmp_path / "curves")
    assert len(traced) == 1


def test_training_twice_gives_the_same_bits_however_often_validation_is_measured(
    trained: Trained, tmp_path: Path
) -> None:
    """Whether or not it saves checkpoints, replaces older curves, or has a parent to ignore."""
    curves, checkpoint = tmp_path / "curves", tmp_path / "training.npz"
    shutil.copytree(trained.curves, curves)
    config, parent = trained.config.replace(validation_freq=3), tmp_path / "missing.weights.h5"
    again = train(config, trained.records, curves, parent, checkpoint)
    assert bits(again) == bits(trained.classifier)
    assert not checkpoint.exists()
    for name, steps in {"loss": ["0", "1"], "validation_loss": ["1"]}.items():
        lines = (curves / f"plots/metrics/{name}.tsv").read_text().splitlines()
        assert [line.split("\t")[0] for line in lines[1:]] == steps
    last, before = (json.loads((f / "metrics.json").read_text()) for f in (curves, trained.curves))
    assert last == before


def test_features_learn_unless_they_are_frozen(trained: Trained, tmp_path: Path) -> None:
    parent = trained.classifier
    keras.utils.set_random_seed(trained.config.seed)
    start = build_classifier(trained.config).get_layer("features")
    assert not set(bits(start)) & set(bits(parent.get_layer("features")))
    config = trained.config.replace(n_epochs=1, pretrained_features=True, freeze_features=True)
    child = train(config, trained.records, tmp_path, trained.features)
    assert bits(child.get_layer("features")) == bits(parent.get_layer("features"))
    assert not set(bits(child)[-2:]) & set(bits(parent))


def test_what_cannot_be_trained_is_refused(trained: Trained, tmp_path: Path) -> None:
    frozen: dict[str, Any] = {"freeze_features": True}
    child: dict[str, Any] = {"pretrained_features": True}
    shutil.copytree(trained.train_records, tmp_path / "alone/train")
    refused: list[tuple[str, dict[str, Any], Path, Path | None]] = [
        ("freeze_features needs pretrained_features", frozen, trained.records, None),
        ("Set mnist.pretrained_features to false", child, trained.records, None),
        ("not the weights of this features", child, trained.records, trained.weights),
        ("missing.train.lengths.json", {}, tmp_path / "missing", None),
        ("validation: no images, but keep is best", {"keep": "best"}, tmp_path / "alone", None),
        ("or patience is above 0", {"patience": 1}, tmp_path / "alone", None),
        ("validation_freq, 3", {"patience": 2, "validation_freq": 3}, trained.records, None),
    ]
    for message, change, records, features in refused:
        with pytest.raises((PipelineError, FileNotFoundError), match=message):
            config = trained.config.replace(**change)
            train(config, records, tmp_path / "curves", features)


def test_the_best_epoch_is_kept_also_after_a_resume_and_patience_ends_the_training(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second epoch is the best. Saving the fourth fails, and a resumed training stops after it."""
    epochs, save = loop._epochs, Checkpoint.save
    weights: list[list[bytes]] = []

    def worsened(classifier: Any, *arguments: Any) -> Iterator[dict[str, float]]:
        for logs in epochs(classifier, *arguments):
            weights.append(bits(classifier))
            yield logs | {"validation_loss": abs(len(weights) - 1.9)}

    def save_three(self: Checkpoint, history: list[dict[str, float]]) -> None:
        assert len(history) < 4
        save(self, history)

    values = {"n_epochs": 6, "learning_rate": 0.03, "keep": "best", "patience": 2}
    config, checkpoint = trained.config.replace(**values), tmp_path / "training.npz"
    arguments = config, trained.records, tmp_path / "curves", None, checkpoint
    monkeypatch.setattr(loop, "_epochs", worsened)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_three)
        with pytest.raises(AssertionError):
            train(*arguments)
    del weights[3:]  # the fourth epoch is trained again
    assert bits(train(*arguments)) == weights[1]
    assert len(set(map(tuple, weights))) == len(weights) == 4


def test_a_training_that_diverges_is_refused(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflowing(*_: object) -> Any:
        return keras.optimizers.SGD(1e30)

    monkeypatch.setattr("letterpress.training.loop.build_optimizer", overflowing)
    # With one step per epoch, the loss is that before the step: only validation shows the end.
    for batch_size, name in ((26, "loss"), (trained.config.n_train_samples, "validation loss")):
        config = trained.config.replace(batch_size=batch_size)
        reason = rf"mnist: training diverged \({name} is (nan|inf)\)"
        with pytest.raises(PipelineError, match=reason):
            train(config, trained.records, tmp_path / "curves")
        assert contents(tmp_path / "curves") == {"metrics.json": b"{}\n"}


def test_damaged_records_are_reported_with_their_split(trained: Trained, tmp_path: Path) -> None:
    for split in ("train", "validation"):
        records = shutil.copytree(trained.records, tmp_path / split)
        only_shard(records / split).write_bytes(b"<!DOCTYPE html>")
        with pytest.raises(PipelineError, match=f"^{records / split}: the records are damaged"):
            train(trained.config, records, tmp_path / "curves")


def test_a_validation_split_without_images_is_like_none(trained: Trained, tmp_path: Path) -> None:
    records = shutil.copytree(trained.records, tmp_path / "records")
    write_splits(tmp_path / "data", {"validation": []}, trained.config)
    shutil.copytree(tmp_path / "data/validation", records / "validation", dirs_exist_ok=True)
    train(trained.config, records, tmp_path / "curves")
    assert json.loads((tmp_path / "curves/metrics.json").read_text()).keys() == {
        "accuracy",
        "loss",
        "step",
    }


def test_a_git_repository_without_a_commit_is_refused(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    with pytest.raises(PipelineError, match="git: DVCLive needs a commit"):
        train(trained.config, trained.records, Path("curves"))
    assert not Path("curves").exists()


KILLED = """
import os, runpy, signal
from letterpress.training.checkpoint import Checkpoint
save = Checkpoint.save
def save_and_die(self, history):
    save(self, history)
    os.kill(os.getpid(), signal.SIGKILL)
Checkpoint.save = save_and_die
runpy.run_module("stages.train_mnist", run_name="__main__")
"""


def test_the_stage_resumes_whenever_it_was_stopped_and_gives_the_same_bits(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By SIGKILL after the first epoch, and after the last one, before the weights are written."""
    data = tmp_path / "data/mnist"
    shutil.copytree(trained.records, data / "tfrecords")
    copy_project(tmp_path, {"mnist": dict(trained.config)})
    command = [sys.executable, "-c", KILLED]
    killed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (killed.returncode, killed.stdout[:9]) == (-9, "Epoch 1/2"), killed.stderr
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "remove", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_mnist.main()
    resuming = "data/mnist/training.npz: resuming after epoch"
    assert capsys.readouterr().out.startswith(f"{resuming} 1\nEpoch 2/2")
    assert not (data / "classifier.weights.h5").exists()
    train_mnist.main()
    said = capsys.readouterr().out
    assert said.startswith(f"{resuming} 2\ndata/mnist/classifier.weights.h5: ")
    made = {path.name: path for path in data.iterdir() if path.name != "tfrecords"}
    assert set(made) == {"curves", "classifier.weights.h5", "features.weights.h5"}
    assert contents(made["curves"]) == contents(trained.curves)
    classifier = build_classifier(trained.config)
    load_weights(classifier.get_layer("features"), made["features.weights.h5"])
    assert bits(classifier.get_layer("features")) == bits(trained.classifier.get_layer("features"))
    load_weights(classifier, made["classifier.weights.h5"])
    assert bits(classifier) == bits(trained.classifier)


def test_balanced_weights_give_each_class_the_same_sum(tmp_path: Path) -> None:
    config = MnistConfig(n_classes=3, image_height=8, image_width=8, **STILL, dense_dropout=0.0)
    config = config.replace(blocks=((8,),), dense_units=8)
    # Batches of all images: batch normalization has the same statistics in training and after.
    config = config.replace(n_epochs=5, batch_size=80, batch_norm_momentum=0.1, feature_dropout=0.0)
    images = np.random.default_rng(0).integers(0, 256, (80, *config.image_shape), np.uint8)
    labels = np.repeat([0, 1, 2], (60, 20, 0))
    rows = zip(images, map(int, labels), map(str, range(80)), strict=True)
    write_splits(tmp_path / "records", {"train": starmap(Example, rows)}, config)
    weights = balanced_weights(tmp_path / "records/train", config).numpy()
    np.testing.assert_allclose(weights, [80 / 2 / 60, 80 / 2 / 20, 0], rtol=1e-6)
    rare = []
    for kind in ("equal", "balanced"):
        changed = config.replace(class_weights=kind)
        classifier = train(changed, tmp_path / "records", tmp_path / kind)
        rare.append(float(classifier(images / np.float32(255))[:, 1].numpy().mean()))
    assert rare[1] > rare[0]
