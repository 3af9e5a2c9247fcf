from typing import Any

import numpy as np
import numpy.typing as npt

from letterpress.core.config import ClassifierConfig
from letterpress.core.tensorflow import tf
from letterpress.training.augmentation import augment, augmented

Images = npt.NDArray[np.float32]

HEIGHT, WIDTH = 40, 32
LIMITS: dict[str, Any] = {"max_rotation": 30.0, "max_shift": 3.0, "max_zoom": 0.2, "max_shear": 0.3}
ZEROS: dict[str, Any] = dict.fromkeys(LIMITS, 0.0)
STILL = ClassifierConfig(image_height=HEIGHT, image_width=WIDTH, **ZEROS)
MOVING = STILL.replace(**LIMITS)
NOISE: Images = np.random.default_rng(0).random((6, HEIGHT, WIDTH, 1), dtype=np.float32)
CENTERED, ABOVE = np.zeros((2, 64, HEIGHT, WIDTH, 1), np.float32)
CENTERED[:, 14:26, 10:22] = 1  # a white box of 12 x 12 pixels
ABOVE[:, 6:10, 14:18] = 1  # a small one, 12 pixels above the center


def changed(images: Images, **limits: Any) -> Images:
    config = STILL.replace(**limits, n_channels=images.shape[3])
    return np.asarray(augment(tf.constant(images), tf.constant(7, tf.int64), config))


def centers(images: Images) -> npt.NDArray[np.float64]:
    """Returns each image's center of mass, (right, down) from the image's center, [n, 2]."""
    mass = images[..., 0].astype(np.float64)
    x = (mass.sum(1) * (np.arange(WIDTH) - (WIDTH - 1) / 2)).sum(1)
    y = (mass.sum(2) * (np.arange(HEIGHT) - (HEIGHT - 1) / 2)).sum(1)
    centers: npt.NDArray[np.float64] = np.stack([x, y], axis=1) / mass.sum((1, 2))[:, None]
    return centers


def assert_spread(values: Any, limit: float) -> None:
    """Asserts that values lie within the limit on both sides of 0, and reach most of it."""
    assert -1.01 * limit <= values.min() < -0.6 * limit
    assert 0.6 * limit < values.max() <= 1.01 * limit


def test_shape_and_range_stay_and_the_channels_of_an_image_move_together() -> None:
    found = changed(np.repeat(NOISE, 3, axis=3), **LIMITS)
    assert found.shape == (6, HEIGHT, WIDTH, 3)
    assert found.dtype == np.float32
    assert 0 <= found.min() < found.max() <= 1
    np.testing.assert_array_equal(found, np.repeat(found[..., :1], 3, axis=3))
    np.testing.assert_array_equal(changed(NOISE), NOISE)


def test_a_shift_moves_each_image_within_the_limit_along_both_axes() -> None:
    found = changed(CENTERED, max_shift=3.0)
    np.testing.assert_allclose(found.sum((1, 2, 3)), 12 * 12, rtol=1e-5)  # nothing is lost
    x, y = centers(found).T
    assert_spread(x, 3)
    assert_spread(y, 3)
    assert np.abs(x - y).max() > 2  # the axes are independent
    assert len(np.unique(x.round(3))) > 60


def test_new_pixels_at_a_border_are_black() -> None:
    found = changed(np.ones_like(CENTERED), max_shift=3.0)
    assert (found[:, 4:-4, 4:-4] == 1).all()
    assert (found.min((1, 2, 3)) < 1).all()
    assert found.min() == 0


def test_a_rotation_turns_by_degrees_within_the_limit() -> None:
    for limit in (30.0, 180.0):
        x, y = centers(changed(ABOVE, max_rotation=limit)).T
        np.testing.assert_allclose(np.hypot(x, y), 12, atol=0.05)
        assert_spread(np.degrees(np.arctan2(x, -y)), limit)


def test_a_zoom_scales_within_the_limit() -> None:
    found = changed(CENTERED, max_zoom=0.2)
    np.testing.assert_allclose(centers(found), 0, atol=0.02)
    sizes = np.sqrt(found.sum((1, 2, 3))) / 12
    assert 1 / 1.2 - 0.01 <= sizes.min() < 0.9
    assert 1.1 < sizes.max() <= 1 / 0.8 + 0.01


def test_a_shear_slants_by_at_most_max_shear_per_pixel_of_height() -> None:
    x, y = centers(changed(ABOVE, max_shear=0.3)).T
    np.testing.assert_allclose(y, -12, atol=0.05)
    assert_spread(x / -12, 0.3)


def test_lines_become_thicker_thinner_or_softer_and_stay_between_black_and_white() -> None:
    found = changed(CENTERED, thicken=1.0)
    np.testing.assert_array_equal(found, changed(CENTERED, thicken=1.0))
    assert found.min() == 0
    assert found.max((1, 2, 3)).tolist() == [1.0] * len(found)
    outside, inside = found[:, 13, 16, 0], found[:, 14, 16, 0]  # beside the edge of the box
    assert 0 < (outside > 0.1).sum() < len(found)
    assert 0 < (inside < 0.9).sum() < len(found)
    same = (changed(CENTERED, thicken=0.5) == CENTERED).all((1, 2, 3))
    assert 0.3 < same.mean() < 0.7
    np.testing.assert_array_equal(changed(0 * CENTERED, thicken=1.0), 0)
    mixed = changed(np.repeat(NOISE, 3, axis=3), **LIMITS, thicken=1.0)
    assert 0 <= mixed.min() < mixed.max() <= 1


def collect(batches: Any, config: ClassifierConfig = MOVING, first_step: int = 0) -> list[Images]:
    images, labels = zip(*augmented(batches, config, first_step).as_numpy_iterator(), strict=True)
    assert [own.tolist() for own in labels] == [[0, 1, 2, 3, 4, 5]] * len(labels)
    return list(images)


def test_a_dataset_changes_with_the_step_and_the_seed_and_is_the_same_when_it_resumes() -> None:
    names = [f"{i}.png" for i in range(6)]
    batch = tf.data.Dataset.from_tensor_slices((NOISE, np.arange(6), names)).batch(6)
    images = collect(batch.repeat(4))
    np.testing.assert_array_equal(images, collect(batch.repeat(4)))
    assert (images[0] != images[1]).any((1, 2, 3)).all()
    np.testing.assert_array_equal(images[3:], collect(batch.repeat(4), first_step=3))
    assert (images[0] != collect(batch, MOVING.replace(seed=1))[0]).any((1, 2, 3)).all()
    np.testing.assert_array_equal(collect(batch, STILL)[0], NOISE)


def test_half_of_the_images_are_mirrored() -> None:
    """Whole images, the same ones in the same step."""
    images = np.tile(NOISE[:1], (200, 1, 1, 1))
    found = changed(images, mirror=True)
    is_mirrored = (found == images[:, :, ::-1]).all((1, 2, 3))
    assert (is_mirrored | (found == images).all((1, 2, 3))).all()
    assert 70 < is_mirrored.sum() < 130
    np.testing.assert_array_equal(changed(images, mirror=True), found)
