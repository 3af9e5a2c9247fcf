"""Turns any picture of one character into an image like those that a classifier was trained on."""

import numpy as np
from PIL import Image

from letterpress.core.config import ClassifierConfig
from letterpress.prediction.characters import find_characters
from letterpress.prediction.ink import SIDE, Floats
from letterpress.records.image import read_picture


def ink_size(config: ClassifierConfig) -> int:
    """Returns the longer side of a character in the images, pixels: 20 of 28, as in MNIST."""
    return min(config.image_height, config.image_width) * 20 // 28


def open_picture(name: str, content: bytes) -> Image.Image:
    """Decodes a picture file. See `read_picture`."""
    return read_picture(name, content, 2 * SIDE)


def prepare(picture: Image.Image, config: ClassifierConfig) -> Floats:
    """Makes the image that the classifier sees: the character white on black, scaled and placed.

    `picture` has mode L or RGB: see `open_picture`. The character is scaled, its aspect ratio kept,
    until its longer side is `ink_size(config)`, and centred as `config.placement` says.

    Returns:
        float32 0..1 [image_height, image_width, n_channels], all channels equal.

    Raises:
        ValueError: there is not exactly one character in the picture.
    """
    images = prepare_each(picture, config)
    if len(images) > 1:
        raise ValueError(f"{len(images)} characters. Crop the picture, or use --each")
    return images[0]


def prepare_each(picture: Image.Image, config: ClassifierConfig) -> list[Floats]:
    """Makes an image of each character in the picture, in reading order. See `prepare`."""
    return [_place(ink, config) for ink in find_characters(picture)]


def _place(ink: Floats, config: ClassifierConfig) -> Floats:
    scale = ink_size(config) / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    scaled = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC))
    top, left = (config.image_height - height + 1) // 2, (config.image_width - width + 1) // 2
    if config.placement == "center_of_mass":
        top = _offset(scaled.sum(axis=1), config.image_height)
        left = _offset(scaled.sum(axis=0), config.image_width)
    image = np.zeros(config.image_shape, np.float32)
    # Bicubic scaling overshoots: below 0 and above the largest value of the ink.
    values = scaled.clip(0) / scaled.max()
    image[top : top + height, left : left + width] = values[..., np.newaxis]
    return image


def _offset(masses: Floats, side: int) -> int:
    """Returns where ink begins along an axis, so that its centre of mass is in the middle."""
    center = float(np.arange(len(masses)) @ masses / masses.sum())
    return min(max(round(side / 2 - center), 0), side - len(masses))
