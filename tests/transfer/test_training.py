"""The comparison of the three starts is fair: they differ in the start and in nothing else."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from stages.mnist.backend import keras, tf
from stages.mnist.errors import PipelineError
from stages.mnist.model import build_classifier, load_weights
from stages.transfer.config import TransferConfig
from stages.transfer.curve import STARTS
from stages.transfer.training import Split, Trainer, draw_batches, load_split, measure_accuracies
from tests.mnist.test_records import only_shard
from tests.transfer.conftest import N_TRAIN, N_UNSEEN, Inputs, draw_examples

N_LABELS = [1, 4, 2]
N_STEPS = {1: 3, 4: 6, 2: 5}
"""3, and with n labels sqrt(n) times as many, rounded up."""
TRANSFER = TransferConfig(
    labels_per_class=N_LABELS,
    n_unseen_per_class=2,
    n_seeds=2,
    n_steps=3,
    batch_size=8,
    learning_rate=0.01,
)
FEATURES = "features"
Arrays = list[npt.NDArray[Any]]


class Training(NamedTuple):
    """A training as it began, went on and ended."""

    trainer: Trainer
    batches: npt.NDArray[np.intp]
    images: Arrays
    """Of each step, as are the labels and the learning rates."""
    labels: Arrays
    rates: list[float]
    before: Arrays
    """Weights."""
    state: Arrays
    """Of dropout's random numbers, before."""
    optimizer: Arrays
    """Its variables, before."""
    after: Arrays
    """Weights."""


Group = dict[str, Training]


class Measured(NamedTuple):
    accuracies: dict[tuple[str, int], list[float]]
    """By start and seed."""
    groups: dict[tuple[int, int], Group]
    """The trainings that are compared with each other, by seed and number of labels."""
    settings: list[object]
    """What TensorFlow was told before each call."""


@pytest.fixture(scope="module")
def measured(inputs: Inputs) -> Measured:
    """The accuracies from all starts with two seeds, and what each training was given."""
    config = replace(inputs.config, feature_dropout=0.2, dense_dropout=0.3)
    trainings: list[Training] = []
    settings: list[object] = []
    steps: list[tuple[Any, ...]] = []
    run, step = Trainer.run, keras.Sequential.train_on_batch

    def watched_run(self: Trainer, batches: npt.NDArray[np.intp]) -> float:
        steps.clear()
        accuracy = run(self, batches)
        images, labels, rates, before, state, optimizer = zip(*steps, strict=True)
        trainings.append(
            Training(
                self,
                batches,
                list(images),
                list(labels),
                list(rates),
                before[0],
                state[0],
                optimizer[0],
                self.model.get_weights(),
            )
        )
        return accuracy

    def watched_step(self: Any, x: Any, y: Any) -> Any:
        rate = float(self.optimizer.learning_rate.numpy())
        variables = [variable.numpy() for variable in self.optimizer.variables]
        steps.append((x, y, rate, self.get_weights(), random_state(self), variables))
        return step(self, x, y)

    accuracies = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run", watched_run)
        patch.setattr(keras.Sequential, "train_on_batch", watched_step)
        # A process of the pool sets its threads before all else; this one runs already.
        for kind in ("intra", "inter"):
            name = f"set_{kind}_op_parallelism_threads"
            patch.setattr(
                tf.config.threading, name, lambda n, kind=kind: settings.append((kind, n))
            )
        for start, seed in product(STARTS, (0, 1)):
            accuracies[start, seed] = measure_accuracies(
                config, TRANSFER, inputs.train.parent, inputs.features, start, seed
            )
    found = iter(trainings)
    groups: dict[tuple[int, int], Group] = {}
    for start, seed, n_labels in product(STARTS, (0, 1), N_LABELS):
        groups.setdefault((seed, n_labels), {})[start] = next(found)
    assert next(found, None) is None
    return Measured(accuracies, groups, settings)


def random_state(model: Any) -> Arrays:
    return [
        layer.seed_generator.state.numpy()
        for layer in model.layers
        if isinstance(layer, keras.layers.Dropout)
    ]


def assert_same(one: Arrays, other: Arrays) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def parent(inputs: Inputs) -> Any:
    extractor = build_classifier(inputs.config).get_layer(FEATURES)
    load_weights(extractor, inputs.features)
    return extractor


@pytest.fixture(scope="module")
def splits(inputs: Inputs) -> tuple[Split, Split]:
    return (
        load_split(inputs.train, inputs.config, max(N_LABELS)),
        load_split(inputs.unseen, inputs.config, TRANSFER.n_unseen_per_class),
    )


def test_steps_grow_with_the_square_root_of_the_labels(measured: Measured) -> None:
    for (_, n_labels), group in measured.groups.items():
        for training in group.values():
            assert training.batches.shape == (N_STEPS[n_labels], TRANSFER.batch_size)
            assert len(training.labels) == N_STEPS[n_labels]


def test_a_process_computes_on_one_thread(measured: Measured) -> None:
    assert measured.settings == [("intra", 1), ("inter", 1)] * len(measured.accuracies)


def test_the_starts_have_the_same_letters_in_the_same_order(
    inputs: Inputs, measured: Measured, splits: tuple[Split, Split]
) -> None:
    train, _ = splits
    features = parent(inputs).predict(train.images, verbose=0)
    for group in measured.groups.values():
        batches = group["scratch"].batches
        for start, training in group.items():
            np.testing.assert_array_equal(training.batches, batches)
            np.testing.assert_array_equal(training.labels, train.labels[batches])
            given = features if start == "frozen" else train.images
            np.testing.assert_allclose(training.images, given[batches], rtol=1e-6, atol=1e-6)


def test_letters_are_as_many_of_each_class_as_labels(
    measured: Measured, splits: tuple[Split, Split]
) -> None:
    train, _ = splits
    for (_, n_labels), group in measured.groups.items():
        seen = np.unique(group["scratch"].batches)
        assert Counter(train.labels[seen]) == dict.fromkeys(range(3), n_labels)


def test_another_seed_or_number_of_labels_has_another_order(measured: Measured) -> None:
    orders = {tuple(g["scratch"].batches.ravel()) for g in measured.groups.values()}
    assert len(orders) == len(measured.groups)


def test_the_starts_differ_in_the_features_alone(inputs: Inputs, measured: Measured) -> None:
    features = parent(inputs).get_weights()
    n = len(features)
    for group in measured.groups.values():
        above = group["frozen"].before
        assert_same(group["scratch"].before[n:], above)
        assert_same(group["pretrained"].before[n:], above)
        assert_same(group["pretrained"].before[:n], features)
        assert not np.array_equal(group["scratch"].before[0], features[0])
        for training in group.values():
            assert_same(training.state, group["scratch"].state)


def test_each_training_begins_anew(measured: Measured) -> None:
    for start, seed in product(STARTS, (0, 1)):
        first, *others = (measured.groups[seed, n][start] for n in N_LABELS)
        assert not any(np.any(value) for value in first.optimizer if np.ndim(value))
        for training in others:
            assert_same(training.before, first.before)
            assert_same(training.state, first.state)
            # The first of the rate is of another schedule; iterations and moments are not.
            assert_same(training.optimizer, first.optimizer)


def test_another_seed_has_other_random_weights_and_other_dropout(measured: Measured) -> None:
    for start in STARTS:
        one, other = (measured.groups[seed, 1][start] for seed in (0, 1))
        assert not np.array_equal(one.before[-2], other.before[-2])
        assert not np.array_equal(one.state[0], other.state[0])


def test_all_but_the_frozen_features_are_trained(inputs: Inputs, measured: Measured) -> None:
    n_all, n_features = (
        len(model.get_weights()) for model in (build_classifier(inputs.config), parent(inputs))
    )
    for group in measured.groups.values():
        for start, training in group.items():
            n_trained = n_all - n_features * (start == "frozen")
            assert len(training.before) == n_trained
            for one, other in zip(training.before, training.after, strict=True):
                assert not np.array_equal(one, other), start


def test_the_rate_falls_along_a_half_cosine(measured: Measured) -> None:
    for (_, n_labels), group in measured.groups.items():
        n = N_STEPS[n_labels]
        expected = [0.01 * (1 + math.cos(math.pi * step / n)) / 2 for step in range(n)]
        for training in group.values():
            assert training.rates == pytest.approx(expected, rel=1e-5)


def test_an_accuracy_is_that_of_the_whole_classifier(
    inputs: Inputs, measured: Measured, splits: tuple[Split, Split]
) -> None:
    _, unseen = splits
    classifier, features = build_classifier(inputs.config), parent(inputs).get_weights()
    for (seed, n_labels), group in measured.groups.items():
        for start, training in group.items():
            below = features if start == "frozen" else []
            classifier.set_weights([*below, *training.after])
            predicted = classifier.predict(unseen.images, verbose=0).argmax(axis=1)
            n_right = sum(one == other for one, other in zip(predicted, unseen.labels, strict=True))
            found = measured.accuracies[start, seed][N_LABELS.index(n_labels)]
            assert found == pytest.approx(n_right / 6)


@pytest.mark.parametrize("start", STARTS)
def test_it_is_the_training_that_keras_does(
    inputs: Inputs, splits: tuple[Split, Split], start: str
) -> None:
    """Frozen features computed once are those of a classifier whose features do not train."""
    train, unseen = splits
    config = replace(inputs.config, feature_dropout=0.0, dense_dropout=0.3)
    keras.utils.set_random_seed(5)
    trainer = Trainer(config, TRANSFER, start, train, unseen, inputs.features)
    shape = (5, TRANSFER.batch_size)
    batches, others = (
        draw_batches(train.labels, 4, shape, np.random.default_rng(seed)) for seed in (3, 4)
    )
    runs = []
    for order in (batches, others, batches):
        accuracy = trainer.run(order)
        variables = [*trainer.model.variables, *trainer.optimizer.variables]
        runs.append((accuracy, trainer.model.get_weights(), [v.numpy() for v in variables]))
    first, other, again = runs
    assert again[0] == first[0]
    assert_same(again[2], first[2])  # nothing is left of the training between
    assert not np.array_equal(other[1][-1], first[1][-1])

    keras.utils.set_random_seed(5)
    classifier = build_classifier(config)
    extractor = classifier.get_layer(FEATURES)
    if start != "scratch":
        load_weights(extractor, inputs.features)
    extractor.trainable = start != "frozen"
    schedule = keras.optimizers.schedules.CosineDecay(TRANSFER.learning_rate, len(batches))
    classifier.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
    for batch in batches:
        classifier.train_on_batch(train.images[batch], train.labels[batch])
    trained = classifier.get_weights()[-len(first[1]) :]
    for one, expected in zip(first[1], trained, strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-4)


def passes_of(batches: npt.NDArray[np.intp], size: int) -> Iterator[list[int]]:
    order = batches.ravel().tolist()
    return (order[i : i + size] for i in range(0, len(order), size))


@pytest.mark.parametrize(("n_labels", "n_steps"), [(1, 3), (4, 3), (4, 1), (6, 10)])
def test_a_subset_has_as_many_letters_of_each_class_and_is_repeated_whole(
    splits: tuple[Split, Split], n_labels: int, n_steps: int
) -> None:
    labels = np.random.default_rng(0).permutation(np.arange(3 * N_TRAIN) % 3)
    batches = draw_batches(labels, n_labels, (n_steps, 8), np.random.default_rng(5))
    assert batches.shape == (n_steps, 8)
    first, *others = passes_of(batches, 3 * n_labels)
    assert len(set(first)) == len(first)
    if len(first) == 3 * n_labels:
        assert Counter(labels[first]) == dict.fromkeys(range(3), n_labels)
    for one in others:
        assert len(set(one)) == len(one)
        assert set(one) == set(first) if len(one) == len(first) else set(one) < set(first)
    if n_labels > 1 and n_steps > 3:
        assert others[0] != first
        assert others[1] != others[0]  # each in an order of its own


def test_the_letters_are_drawn_from_all_that_there_are() -> None:
    labels = np.arange(3 * N_TRAIN) % 3
    random = np.random.default_rng(1)
    drawn = {i for _ in range(30) for i in draw_batches(labels, 2, (1, 6), random).ravel()}
    assert drawn == set(range(3 * N_TRAIN))


def test_the_first_letters_of_each_class_are_loaded_in_their_order(inputs: Inputs) -> None:
    examples = draw_examples(N_TRAIN, 1)
    config = replace(inputs.config, batch_size=7)  # the last batch is smaller
    pixels = np.stack([example.image for example in examples])
    labels = np.array([example.label for example in examples])
    for n in (2, N_TRAIN):
        split = load_split(inputs.train, config, n)
        chosen = sorted(i for k in range(3) for i in np.flatnonzero(labels == k)[:n])
        np.testing.assert_array_equal((split.images * 255).round(), pixels[chosen])
        np.testing.assert_array_equal(split.labels, labels[chosen])
        assert split.images.dtype == np.float32
        assert split.labels.dtype == np.int64


@pytest.mark.parametrize(("split", "n"), [("train", N_TRAIN), ("unseen", N_UNSEEN)])
def test_too_few_letters_are_told_with_what_to_do(inputs: Inputs, split: str, n: int) -> None:
    key = {"train": "labels_per_class", "unseen": "n_unseen_per_class"}[split]
    with pytest.raises(PipelineError) as refused:
        load_split(getattr(inputs, split), inputs.config, n + 1)
    message = str(refused.value)
    assert f"{split} has {n} letters of some class" in message
    assert f"asks for {n + 1}: lower " in message
    assert key in message
    assert "\n" not in message


def test_a_class_without_letters_is_too_few(inputs: Inputs) -> None:
    config = replace(inputs.config, n_classes=4)
    with pytest.raises(PipelineError, match="has 0 letters of some class"):
        load_split(inputs.train, config, 1)


def test_records_that_are_missing_or_damaged_are_refused(inputs: Inputs, tmp_path: Path) -> None:
    path = tmp_path / "train"
    with pytest.raises(PipelineError, match=r"train.lengths\.json is missing"):
        load_split(path, inputs.config, 1)
    shutil.copytree(inputs.train, path)
    only_shard(path).write_bytes(b"not a record file")
    with pytest.raises(PipelineError, match="train: not the records"):
        load_split(path, inputs.config, 1)


@pytest.mark.parametrize("start", ["pretrained", "frozen"])
def test_features_are_needed_from_all_starts_but_scratch(
    inputs: Inputs, splits: tuple[Split, Split], tmp_path: Path, start: str
) -> None:
    missing = tmp_path / "no.weights.h5"
    Trainer(inputs.config, TRANSFER, "scratch", *splits, missing)
    with pytest.raises(PipelineError, match=r"no\.weights\.h5 is missing: run `dvc repro`"):
        Trainer(inputs.config, TRANSFER, start, *splits, missing)


def test_a_training_that_diverges_is_refused(inputs: Inputs, splits: tuple[Split, Split]) -> None:
    trainer = Trainer(inputs.config, TRANSFER, "scratch", *splits, inputs.features)
    trainer.rate = float("nan")
    with pytest.raises(PipelineError, match=r"lower transfer\.learning_rate"):
        trainer.run(np.zeros((2, TRANSFER.batch_size), np.intp))


def test_the_highest_seed_is_one_that_keras_takes(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("intra", "inter"):
        name = f"set_{kind}_op_parallelism_threads"
        monkeypatch.setattr(tf.config.threading, name, lambda _: None)
    config, transfer = (
        replace(inputs.config, seed=2**32 - 1),
        replace(TRANSFER, labels_per_class=[1], n_steps=1),
    )
    accuracies = measure_accuracies(
        config, transfer, inputs.train.parent, inputs.features, "frozen", 1
    )
    assert len(accuracies) == 1
