"""Random changes of the training images: affine ones, and thicker or thinner lines."""

import math
from typing import Any

from letterpress.core.config import ClassifierConfig
from letterpress.core.tensorflow import keras, tf


def augmented(batches: Any, config: ClassifierConfig, first_step: int = 0) -> Any:
    """Augments a dataset of (images, labels, file names) and drops the names.

    When a training resumes, `first_step` is the number of batches to skip. The rest stay the same.
    """
    # Each batch gets the number of its step as its seed: map may run in parallel.
    numbered = batches.skip(first_step).enumerate(first_step)
    return numbered.map(
        lambda step, batch: (augment(batch[0], step, config), batch[1]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


# Its conditions do not depend on tensors: converting it to a graph's would only take time.
@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def augment(images: Any, step: Any, config: ClassifierConfig) -> Any:
    """Rotates, shears, zooms and shifts each image about its center; thickens or thins its lines.

    New border pixels are 0.

    Args:
        images: float32 0..1 [batch, height, width, channels].
        step: int64 scalar; the same step and config.seed give the same changes.
        config: seed; max_rotation, max_shift, max_zoom and max_shear, the limits of uniform
            distributions around 0; thicken, the share of images whose lines change; and mirror.

    Returns:
        float32 0..1 [batch, height, width, channels], bilinearly interpolated.
    """
    if config.thicken:
        images = _thicken(images, step, config)
    if config.mirror:
        images = _mirror(images, step, config)
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


def _mirror(images: Any, step: Any, config: ClassifierConfig) -> Any:
    """Mirrors each image, left to right, with a probability of one half."""
    # Seeds are below 2**32: `augment`, `_thicken` and `_mirror` never share a stream.
    seed = tf.stack([config.seed + 2**33, step])
    drawn = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed)
    return tf.where(drawn < 0.5, tf.reverse(images, [2]), images)


def _thicken(images: Any, step: Any, config: ClassifierConfig) -> Any:
    """Makes lines thicker (dilation), thinner (erosion) or softer (blur), each by a random degree.

    The brightest pixel of each image becomes 1.
    """
    shape = 3, tf.shape(images)[0], 1, 1, 1
    seed = tf.stack([config.seed + 2**32, step])
    changes, kind, degree = tf.unstack(tf.random.stateless_uniform(shape, seed))
    thicker = tf.nn.max_pool2d(images, 3, 1, "SAME")
    # Not erosion alone, which would erase lines of one or two pixels.
    thinner = 0.3 * images - 0.7 * tf.nn.max_pool2d(-images, 3, 1, "SAME")
    softer = tf.nn.avg_pool2d(images, 3, 1, "SAME")
    other = tf.where(kind < 1 / 3, thicker, tf.where(kind < 2 / 3, thinner, softer))
    changed = images + tf.where(changes < config.thicken, degree, 0) * (other - images)
    return tf.math.divide_no_nan(changed, tf.reduce_max(changed, (1, 2, 3), keepdims=True))
