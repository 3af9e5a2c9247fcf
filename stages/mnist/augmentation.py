"""Random small movements of the training images."""

from __future__ import annotations

import math
from typing import Any

from stages.mnist.backend import keras, tf
from stages.mnist.config import MnistConfig


def augmented(batches: Any, config: MnistConfig) -> Any:
    """Augments a dataset of (images, labels, file names), differently in each pass, and drops the names.

    Returns:
        A tf.data.Dataset of batches: images and labels as they came, the images moved by `augment`.
    """
    seeds = tf.data.Dataset.random(config.seed, rerandomize_each_iteration=True)
    return (
        tf.data.Dataset.zip(batches, seeds)
        .map(
            lambda batch, seed: (augment(batch[0], seed, config), batch[1]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def augment(images: Any, seed: Any, config: MnistConfig) -> Any:
    """Rotates, shears, zooms and shifts each image about its centre; what comes in at a border is 0.

    Args:
        images: float32 0..1 [batch, height, width, channels].
        seed: int64 scalar; the same seed moves the same images the same way.
        config: max_rotation, max_shift, max_zoom and max_shear, each drawn uniformly either way.

    Returns:
        float32 0..1 [batch, height, width, channels], bilinearly interpolated.
    """
    largest = (
        math.radians(config.max_rotation),
        config.max_shear,
        config.max_zoom,
        config.max_shift,
        config.max_shift,
    )
    if not any(largest):
        return images
    drawn = tf.random.stateless_uniform((tf.shape(images)[0], 5), tf.stack([seed, 0]), -1.0, 1.0)
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
