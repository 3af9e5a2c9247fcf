from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from stages.mnist.augmentation import augment, augmented
from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import Part

Images = npt.NDArray[np.float32]

HEIGHT, WIDTH = 40, 32
LIMITS: dict[str, Any] = {"max_rotation": 30.0, "max_shift": 3.0, "max_zoom": 0.3, "max_shear": 0.3}


@pytest.fixture
def still(project: Path) -> MnistConfig:
    """All limits 0, and images that are no squares."""
    config = MnistConfig.from_yaml(project / "params.yaml")
    zeros: dict[str, Any] = dict.fromkeys(LIMITS, 0.0)
    return replace(config, image_height=HEIGHT, image_width=WIDTH, **zeros)


@pytest.fixture
def noise() -> Images:
    return np.random.default_rng(0).random((6, HEIGHT, WIDTH, 1), dtype=np.float32)


def boxes(top: int, left: int, size: int, n: int = 64) -> Images:
    """`n` black images with a white box."""
    images = np.zeros((n, HEIGHT, WIDTH, 1), np.float32)
    images[:, top : top + size, left : left + size] = 1
    return images


def moved(images: Images, config: MnistConfig, seed: int = 7) -> Images:
    return np.asarray(augment(tf.constant(images), tf.constant(seed, tf.int64), config))


def centers(images: Images) -> npt.NDArray[np.float64]:
    """The centre of mass of each image, (right, down) from the centre of the image, [n, 2]."""
    mass = images[..., 0].astype(np.float64)
    total = mass.sum((1, 2))
    x = (mass.sum(1) * (np.arange(WIDTH) - (WIDTH - 1) / 2)).sum(1) / total
    y = (mass.sum(2) * (np.arange(HEIGHT) - (HEIGHT - 1) / 2)).sum(1) / total
    return np.stack([x, y], axis=1)


CENTERED = boxes(HEIGHT // 2 - 6, WIDTH // 2 - 6, 12)
ABOVE = boxes(HEIGHT // 2 - 14, WIDTH // 2 - 2, 4)
"""A small box, 12 pixels above the centre."""


def test_limits_of_zero_leave_the_images_as_they_are(still: MnistConfig, noise: Images) -> None:
    np.testing.assert_array_equal(moved(noise, still), noise)


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_alone_moves_the_images(still: MnistConfig, noise: Images, limit: str) -> None:
    found = moved(noise, replace(still, **{limit: LIMITS[limit]}))
    assert (np.abs(found - noise).max((1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize("n_channels", [1, 3])
def test_shape_and_range_stay(still: MnistConfig, n_channels: int) -> None:
    config = replace(still, **LIMITS, n_channels=n_channels)
    images = np.random.default_rng(0).random((6, HEIGHT, WIDTH, n_channels), dtype=np.float32)
    found = moved(images, config)
    assert found.shape == images.shape
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_channels_of_an_image_move_together(still: MnistConfig, noise: Images) -> None:
    config = replace(still, **LIMITS, n_channels=3)
    red, green, blue = np.moveaxis(moved(np.repeat(noise, 3, axis=3), config), 3, 0)
    np.testing.assert_array_equal(red, green)
    np.testing.assert_array_equal(red, blue)


def test_the_same_seed_moves_the_same_way(still: MnistConfig, noise: Images) -> None:
    config = replace(still, **LIMITS)
    np.testing.assert_array_equal(moved(noise, config), moved(noise, config))


def test_another_seed_moves_another_way(still: MnistConfig, noise: Images) -> None:
    config = replace(still, **LIMITS)
    assert (moved(noise, config, seed=7) != moved(noise, config, seed=8)).any((1, 2, 3)).all()


def test_each_image_of_a_batch_moves_its_own_way(still: MnistConfig) -> None:
    places = centers(moved(CENTERED, replace(still, max_shift=3.0)))
    assert len(np.unique(places.round(3), axis=0)) == len(CENTERED)


def test_a_shift_moves_each_image_within_the_limit_along_both_axes(still: MnistConfig) -> None:
    found = moved(CENTERED, replace(still, max_shift=3.0))
    np.testing.assert_allclose(found.sum((1, 2, 3)), 12 * 12, rtol=1e-5)  # nothing is lost
    places = centers(found)
    assert np.abs(places).max() <= 3.001
    assert places.min(0).max() < -2  # both axes and both ways are used
    assert places.max(0).min() > 2
    assert np.abs(places[:, 0] - places[:, 1]).max() > 2  # each on its own


def test_what_comes_in_at_a_border_is_black(still: MnistConfig) -> None:
    white = np.ones((64, HEIGHT, WIDTH, 1), np.float32)
    found = moved(white, replace(still, max_shift=3.0))
    assert (found[:, 4:-4, 4:-4] == 1).all()
    assert (found.min((1, 2, 3)) < 1).all()
    assert found.min() == 0


@pytest.mark.parametrize("limit", ["max_rotation", "max_zoom", "max_shear"])
def test_the_centre_stays_where_it_is(still: MnistConfig, limit: str) -> None:
    found = moved(CENTERED, replace(still, **{limit: LIMITS[limit]}))
    np.testing.assert_allclose(centers(found), 0, atol=0.02)


def test_a_rotation_keeps_a_centred_square_mostly(still: MnistConfig) -> None:
    found = moved(CENTERED, replace(still, max_rotation=30.0))
    assert (found[:, 17:23, 13:19] > 0.999).all()  # its inner circle
    np.testing.assert_allclose(found.sum((1, 2, 3)), 12 * 12, rtol=0.01)
    assert ((found * CENTERED).sum((1, 2, 3)) > 0.8 * 12 * 12).all()


def test_a_rotation_turns_within_the_limit_and_keeps_the_distance(still: MnistConfig) -> None:
    places = centers(moved(ABOVE, replace(still, max_rotation=30.0)))
    np.testing.assert_allclose(np.hypot(*places.T), 12, atol=0.05)
    degrees = np.degrees(np.arctan2(places[:, 0], -places[:, 1]))
    assert np.abs(degrees).max() <= 30.3
    assert degrees.min() < -20
    assert degrees.max() > 20


def test_a_zoom_changes_the_size_within_the_limit(still: MnistConfig) -> None:
    sizes = np.sqrt(moved(CENTERED, replace(still, max_zoom=0.2)).sum((1, 2, 3))) / 12
    assert sizes.min() >= 1 / 1.2 - 0.01
    assert sizes.max() <= 1 / 0.8 + 0.01
    assert sizes.min() < 0.9
    assert sizes.max() > 1.1


def test_a_shear_slants_by_the_height_within_the_limit(still: MnistConfig) -> None:
    places = centers(moved(ABOVE, replace(still, max_shear=0.3)))
    np.testing.assert_allclose(places[:, 1], -12, atol=0.05)
    slants = places[:, 0] / -12
    assert np.abs(slants).max() <= 0.301
    assert slants.min() < -0.2
    assert slants.max() > 0.2


def collected(batches: Any) -> tuple[Images, npt.NDArray[np.int64]]:
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.fixture
def batches(noise: Images) -> Any:
    """Images, labels and names in batches of 4 and 2, as `load_batches` gives them."""
    names = [f"{i}.png" for i in range(len(noise))]
    return tf.data.Dataset.from_tensor_slices((noise, np.arange(len(noise)), names)).batch(4)


def test_a_dataset_keeps_its_labels_and_drops_the_names(still: MnistConfig, batches: Any) -> None:
    images, labels = collected(augmented(batches, still))
    assert labels.tolist() == list(range(6))
    np.testing.assert_array_equal(images, collected(batches.map(lambda i, n, _: (i, n)))[0])


def test_a_dataset_is_moved_otherwise_in_each_pass(still: MnistConfig, batches: Any) -> None:
    images = collected(augmented(batches.repeat(2), replace(still, **LIMITS)))[0]
    assert (images[:6] != images[6:]).any((1, 2, 3)).all()


def test_a_dataset_goes_on_as_if_the_first_batches_had_been_taken(
    still: MnistConfig, batches: Any
) -> None:
    config = replace(still, **LIMITS)
    whole, rest = (
        collected(augmented(batches.repeat(3), config, first_step=step)) for step in (0, 3)
    )
    np.testing.assert_array_equal(whole[0][10:], rest[0])
    np.testing.assert_array_equal(whole[1][10:], rest[1])


@pytest.mark.parametrize("n_parts", [2, 3])
def test_the_parts_of_a_batch_are_moved_as_the_whole_is(
    still: MnistConfig, noise: Images, n_parts: int
) -> None:
    config = replace(still, **LIMITS)
    step = tf.constant(5, tf.int64)
    whole = moved(noise, config, 5)
    for number in range(n_parts):
        own: Any = augment(noise[number::n_parts], step, config, Part(number, n_parts))
        np.testing.assert_array_equal(own, whole[number::n_parts])


def test_the_batches_of_a_pass_are_moved_otherwise(still: MnistConfig, noise: Images) -> None:
    twice = np.concatenate([noise, noise])
    batches = tf.data.Dataset.from_tensor_slices((twice, np.arange(12), np.arange(12))).batch(6)
    images, _ = collected(augmented(batches, replace(still, **LIMITS)))
    assert (images[:6] != images[6:]).any((1, 2, 3)).all()


def test_a_dataset_is_moved_the_same_way_in_each_run(still: MnistConfig, batches: Any) -> None:
    config = replace(still, **LIMITS)
    one, other = augmented(batches, config), augmented(batches, config)
    for _ in range(2):
        np.testing.assert_array_equal(collected(one)[0], collected(other)[0])


def test_another_seed_of_the_params_moves_a_dataset_otherwise(
    still: MnistConfig, batches: Any
) -> None:
    one, other = (replace(still, **LIMITS, seed=seed) for seed in (0, 1))
    images = [collected(augmented(batches, config))[0] for config in (one, other)]
    assert (images[0] != images[1]).any()


def test_a_rotated_and_slanted_image_keeps_its_area(still: MnistConfig) -> None:
    found = moved(CENTERED, replace(still, max_rotation=30.0, max_shear=0.3))
    np.testing.assert_allclose(found.sum((1, 2, 3)), 12 * 12, rtol=0.01)


def test_the_limits_of_the_rotation_are_degrees(still: MnistConfig) -> None:
    places = centers(moved(ABOVE, replace(still, max_rotation=180.0)))
    degrees = np.degrees(np.arctan2(places[:, 0], -places[:, 1]))
    assert np.abs(degrees).max() > 150
    assert math.isclose(float(np.hypot(*places.T).max()), 12, abs_tol=0.05)
