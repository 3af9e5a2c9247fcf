"""Random small movements of the training images."""

from __future__ import annotations

import math
from typing import Any

from stages.mnist.backend import keras, tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import WHOLE, Part


def augmented(batches: Any, config: MnistConfig, part: Part = WHOLE, first_step: int = 0) -> Any:
    """Augments a dataset of (images, labels, file names), each batch differently, and drops the names.

    Args:
        batches: those of one part of several workers, or whole ones.
        config: as for `augment`.
        part: which part they are.
        first_step: how many batches to pass over; the others are moved as if these had been taken.

    Returns:
        A tf.data.Dataset of batches: images and labels as they came, the images moved by `augment`.
    """
    return (
        batches.skip(first_step)
        .enumerate(first_step)
        .map(
            lambda step, batch: (augment(batch[0], step, config, part), batch[1]),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def augment(images: Any, step: Any, config: MnistConfig, part: Part = WHOLE) -> Any:
    """Rotates, shears, zooms and shifts each image about its centre; what comes in at a border is 0.

    Args:
        images: float32 0..1 [batch, height, width, channels].
        step: int64 scalar; the same step and config.seed move the same images the same way.
        config: seed, and max_rotation, max_shift, max_zoom and max_shear, each drawn uniformly
            either way.
        part: which rows of a batch these images are: they move as they do in the whole batch.

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
    shape = (tf.shape(images)[0] * part.n_parts, 5)  # of the whole batch
    drawn = tf.random.stateless_uniform(shape, tf.stack([config.seed, step]), -1.0, 1.0)
    drawn = drawn[part.number :: part.n_parts]
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
