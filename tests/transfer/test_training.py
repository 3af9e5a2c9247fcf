"""The comparison of the three starts is fair: they differ only in the start."""

import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras
from letterpress.jobs.shards import shard_paths
from letterpress.model.network import build_classifier
from letterpress.model.weights import load_weights
from letterpress.transfer import training
from letterpress.transfer.training import build_model, draw_batches, load_split, train_each
from stages.transfer_curve import FEATURES, RECORDS
from tests.transfer.conftest import (
    CONFIG,
    N_TRAIN,
    STARTS,
    TRANSFER,
    draw_examples,
    patch_threads,
)

Arrays = list[npt.NDArray[Any]]


def assert_same(one: Arrays, other: Arrays) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def splits(folder: Path) -> Any:
    return (
        load_split(folder / RECORDS / "train", CONFIG, None),
        load_split(folder / RECORDS / "unseen", CONFIG, TRANSFER.n_test_per_class),
    )


def test_starts_get_the_same_letters_and_differ_only_in_the_features(
    folder: Path, splits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded per start, seed and labels per class: batches, initial weights, dropout states."""
    started: dict[tuple[str, int, int], tuple[Arrays, Arrays, Arrays]] = {}
    keys = product(STARTS, (0, 1), TRANSFER.labels_per_class)

    def watch(model: Any, config: Any, rate: float, runs: list[Any], *_: Any) -> Iterator[float]:
        layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        states = [layer.seed_generator.state.numpy() for layer in layers]
        for batches in runs:
            started[next(keys)] = [batches], model.get_weights(), states
            yield len(started) / 100

    monkeypatch.setattr(training, "train_each", watch)
    threads = patch_threads(monkeypatch)
    config = CONFIG.replace(seed=2**32 - 1)  # the highest; Keras takes no larger one
    paths = folder / RECORDS, folder / FEATURES
    accuracies = [
        training.measure_accuracies(config, TRANSFER, *paths, start, seed)
        for start, seed in product(STARTS, (0, 1))
    ]
    assert np.ravel(accuracies).tolist() == [n / 100 for n in range(1, 19)]
    assert threads == [1, 1] * 6

    orders = set()
    for seed, (n, n_steps) in product((0, 1), {1: 3, 4: 6, 2: 5}.items()):
        (batches,), *_ = started["scratch", seed, n]
        assert batches.shape == (n_steps, 8)  # 3 * sqrt(n) steps, rounded up
        assert Counter(splits[0].labels[np.unique(batches)]) == {0: n, 1: n, 2: n}
        assert_same([started[start, seed, n][0][0] for start in STARTS], [batches] * 3)
        orders.add(tuple(batches.ravel()))
    assert len(orders) == 6

    extractor = build_classifier(CONFIG).get_layer("features")
    load_weights(extractor, folder / FEATURES)
    features = extractor.get_weights()
    n_features = len(features)
    for seed in (0, 1):
        scratch, pretrained, frozen = (started[start, seed, 1] for start in STARTS)
        assert_same(sorted(pretrained[1], key=str), sorted(frozen[1], key=str))
        # Keras lists the weights that are not trained last.
        assert any(np.array_equal(weight, features[0]) for weight in pretrained[1])
        assert_same(scratch[1][n_features:], pretrained[1][n_features:])
        assert not np.array_equal(scratch[1][0], features[0])
        assert_same(scratch[2] + scratch[2], pretrained[2] + frozen[2])
    one, other = (started["frozen", seed, 1] for seed in (0, 1))
    assert not np.array_equal(one[1][-2], other[1][-2])
    assert not np.array_equal(one[2][0], other[2][0])


@pytest.mark.parametrize(  # scratch: other weights
    "start", ["pretrained", pytest.param("frozen", marks=pytest.mark.long)]
)
def test_a_training_is_the_same_as_with_keras_alone(folder: Path, splits: Any, start: str) -> None:
    train, unseen = splits
    still = dict.fromkeys(("max_rotation", "max_shift", "max_zoom", "max_shear"), 0.0)
    config = CONFIG.replace(feature_dropout=0.0, dense_dropout=0.3, **still)
    path = folder / FEATURES
    keras.utils.set_random_seed(5)
    model = build_model(config, start, path)
    random = np.random.default_rng(3)
    batches, others = (draw_batches(train.labels, 4, (5, 8), random) for _ in range(2))
    orders, rate = [batches, others, batches], 0.001  # low, because Adam amplifies rounding
    runs = []
    for accuracy in train_each(model, config, rate, orders, train, unseen):
        variables = [*model.variables, *model.optimizer.variables]
        runs.append((accuracy, model.get_weights(), [variable.numpy() for variable in variables]))
    first, other, again = runs
    assert first[0] == again[0]
    assert_same(first[2], again[2])  # nothing is left of the training in between
    assert not np.array_equal(first[1][-1], other[1][-1])

    keras.utils.set_random_seed(5)
    classifier = build_model(config, start, path)
    schedule = keras.optimizers.schedules.CosineDecay(rate, len(batches))
    classifier.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
    for batch in batches:
        classifier.train_on_batch(train.images[batch], train.labels[batch])
    pairs = zip(first[1], classifier.get_weights(), strict=True)
    differences = np.concatenate([np.ravel(mine - keras_own) for mine, keras_own in pairs])
    # Not each: if a gradient is almost 0, its rounding decides the direction of a whole step.
    assert np.abs(differences).mean() < 1e-6
    predicted = classifier.predict(unseen.images, verbose=0).argmax(axis=1)
    assert first[0] == np.mean(predicted == unseen.labels)


def test_a_subset_has_the_same_number_of_letters_per_class_and_is_shuffled_in_each_pass() -> None:
    labels = np.random.default_rng(0).permutation(np.arange(3 * N_TRAIN) % 3)
    random = np.random.default_rng(1)
    passes = draw_batches(labels, 4, (6, 8), random).reshape(4, 12)
    for one in passes:
        assert set(one) == set(passes[0])
        assert Counter(labels[one]) == {0: 4, 1: 4, 2: 4}
    assert len({tuple(one) for one in passes}) == 4
    short = draw_batches(labels, 6, (2, 5), random)  # less than one pass
    assert (short.shape, len(np.unique(short))) == ((2, 5), 10)
    drawn = {i for _ in range(30) for i in draw_batches(labels, 2, (1, 6), random).ravel()}
    assert drawn == set(range(3 * N_TRAIN))


def test_the_first_letters_of_each_class_are_loaded_in_their_order(folder: Path) -> None:
    images, labels, _ = zip(*draw_examples(N_TRAIN, 1), strict=True)
    for n in (2, N_TRAIN):
        split = load_split(folder / RECORDS / "train", CONFIG.replace(batch_size=7), n)
        chosen = sorted(
            i for label in range(3) for i in np.flatnonzero(np.array(labels) == label)[:n]
        )
        np.testing.assert_array_equal((split.images * 255).round(), np.array(images)[chosen])
        np.testing.assert_array_equal(split.labels, np.array(labels)[chosen])
        assert split.images.dtype == np.float32


def test_too_few_letters_and_bad_records_are_refused(folder: Path, tmp_path: Path) -> None:
    more = CONFIG.replace(n_classes=4)  # there is no letter of the fourth class
    with pytest.raises(PipelineError, match=r"7 letters per class needed \(got 6\)\. Lower transf"):
        draw_batches(np.arange(18) % 3, 7, (1, 1), np.random.default_rng(0))
    for name, n, config in (("train", 6, CONFIG), ("unseen", 3, CONFIG), ("train", 0, more)):
        message = rf"{name}: {n + 1} letters per class needed \(got {n}\)\. Lower transfer"
        with pytest.raises(PipelineError, match=message):
            load_split(folder / RECORDS / name, config, n + 1)
    path = shutil.copytree(folder / RECORDS / "train", tmp_path / "train")
    shard_paths(path, ".tfrecord", 1)[0].write_bytes(b"not a record file")
    with pytest.raises(PipelineError, match=f"{path}"):
        load_split(path, CONFIG, 1)


def test_a_training_that_diverges_is_an_error(splits: Any) -> None:
    runs = [np.zeros((2, 8), np.intp)]
    with pytest.raises(PipelineError, match=r"diverged \(loss is nan\)\. Lower transfer\.learn"):
        list(train_each(build_classifier(CONFIG), CONFIG, float("nan"), runs, *splits))
