"""Random changes of the training images: affine ones, bends, and thicker or thinner lines."""

import math
from typing import Any

from letterpress.core.config import ClassifierConfig
from letterpress.core.tensorflow import keras, tf


def augmented(batches: Any, config: ClassifierConfig, first_step: int = 0) -> Any:
    """Augments a dataset of (images, labels, file names) and drops the names.

    When a training resumes, `first_step` is the number of batches to skip. The rest stay the same.
    """
    numbered = batches.skip(first_step).enumerate(first_step)
    return numbered.map(
        lambda step, batch: (augment(batch[0], step, config), batch[1]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def augment(images: Any, step: Any, config: ClassifierConfig) -> Any:
    """Rotates, shears, zooms, shifts and bends each image; thickens or thins its lines.

    New border pixels are 0.

    Args:
        images: float32 0..1 [batch, height, width, channels].
        step: int64 scalar; the same step and config.seed give the same changes.
        config: seed; max_rotation, max_shift, max_zoom and max_shear, the limits of uniform
            distributions around 0; max_bend (see `_bend`); and thicken, the share of images whose
            lines change.

    Returns:
        float32 0..1 [batch, height, width, channels], bilinearly interpolated.
    """
    if config.thicken:
        images = _thicken(images, step, config)
    if config.max_bend:
        images = _bend(images, step, config)
    largest = (
        math.radians(config.max_rotation),
        config.max_shear,
        config.max_zoom,
        config.max_shift,
        config.max_shift,
    )
    if not any(largest):
        return images
    shape = tf.shape(images)[0], 5
    drawn = tf.random.stateless_uniform(shape, tf.stack([config.seed, step]), -1.0, 1.0)
    angle, shear, zoom, right, down = tf.unstack(drawn * largest, axis=1)  # each [batch]
    # The inverse map, from a point of the new image to its source: zoom, shear, rotate.
    cos, sin = tf.cos(angle) * (1 + zoom), tf.sin(angle) * (1 + zoom)
    x_from_x, x_from_y = cos, shear * cos - sin
    y_from_x, y_from_y = sin, shear * sin + cos
    center_y, center_x = (config.image_height - 1) / 2, (config.image_width - 1) / 2
    x_offset = center_x - x_from_x * center_x - x_from_y * center_y + right
    y_offset = center_y - y_from_x * center_x - y_from_y * center_y + down
    zeros = tf.zeros_like(angle)
    transforms = tf.stack(
        [x_from_x, x_from_y, x_offset, y_from_x, y_from_y, y_offset, zeros, zeros], axis=1
    )
    return keras.ops.image.affine_transform(images, transforms, interpolation="bilinear")


def _thicken(images: Any, step: Any, config: ClassifierConfig) -> Any:
    """Makes lines thicker (dilation), thinner (erosion) or softer (blur), each by a random degree.

    The brightest pixel of each image becomes 1.
    """
    shape = 3, tf.shape(images)[0], 1, 1, 1
    seed = tf.stack([config.seed + 2**32, step])
    changes, kind, degree = tf.unstack(tf.random.stateless_uniform(shape, seed))
    thicker = tf.nn.max_pool2d(images, 3, 1, "SAME")
    thinner = 0.3 * images - 0.7 * tf.nn.max_pool2d(-images, 3, 1, "SAME")
    softer = tf.nn.avg_pool2d(images, 3, 1, "SAME")
    other = tf.where(kind < 1 / 3, thicker, tf.where(kind < 2 / 3, thinner, softer))
    changed = images + tf.where(changes < config.thicken, degree, 0) * (other - images)
    return tf.math.divide_no_nan(changed, tf.reduce_max(changed, (1, 2, 3), keepdims=True))


def _bend(images: Any, step: Any, config: ClassifierConfig) -> Any:
    """Moves the pixels of each image along three waves, as a hand bends lines.

    A wave has a random direction and phase, a length of 1 to 3 images, and moves pixels by at most
    max_bend / 3 along each axis.
    """
    height, width = config.image_height, config.image_width
    seed = tf.stack([config.seed + 2**33, step])
    drawn = tf.random.stateless_uniform((5, tf.shape(images)[0], 3, 1, 1), seed)
    direction, phase, length, right, down = tf.unstack(drawn)
    direction, phase = 2 * math.pi * direction, 2 * math.pi * phase
    x, y = tf.meshgrid(tf.range(width, dtype=tf.float32), tf.range(height, dtype=tf.float32))
    along = tf.cos(direction) * x / width + tf.sin(direction) * y / height
    waves = config.max_bend / 3 * tf.sin(phase + 2 * math.pi * along / (1 + 2 * length))
    x += tf.reduce_sum(waves * (2 * right - 1), axis=1)  # [batch, height, width]
    y += tf.reduce_sum(waves * (2 * down - 1), axis=1)
    return _sample(images, x, y)


def _sample(images: Any, x: Any, y: Any) -> Any:
    """Interpolates images bilinearly at points [batch, height, width]; outside, they are 0."""
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
    _, height, width, channels = padded.shape
    x, y = tf.clip_by_value(x + 1, 0, width - 1.001), tf.clip_by_value(y + 1, 0, height - 1.001)
    left, top = tf.floor(x), tf.floor(y)
    pixels = tf.reshape(padded, (-1, height * width, channels))
    corner = tf.cast(top * width + left, tf.int32)
    a, b, c, d = (
        tf.gather(pixels, corner + offset, batch_dims=1) for offset in (0, 1, width, width + 1)
    )
    x, y = (x - left)[..., tf.newaxis], (y - top)[..., tf.newaxis]
    return (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)
