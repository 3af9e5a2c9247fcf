"""Turns any picture of one character into an image like those that a classifier was trained on."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from letterpress.core.config import ClassifierConfig
from letterpress.records.image import open_image

_LARGEST_SIDE = 1024  # pixels; larger pictures are shrunk first, to limit time and memory
_LEAST_CONTRAST = 0.1  # of black to white; noise and JPEG artefacts on empty paper stay below
_LEAST_INK = 0.25  # of the strongest ink; shadows and noise on the paper stay below

Floats = npt.NDArray[np.float32]


def ink_size(config: ClassifierConfig) -> int:
    """Returns the longer side of a character in the images, pixels: 20 of 28, as in MNIST."""
    return min(config.image_height, config.image_width) * 20 // 28


def open_picture(name: str, content: bytes) -> Image.Image:
    """Decodes a picture file: the first frame, rotated as its EXIF data says. See `open_image`."""
    with open_image(name, content, refuse_bombs=True) as image:
        return ImageOps.exif_transpose(image)


def prepare(picture: Image.Image, config: ClassifierConfig) -> Floats:
    """Makes the image that the classifier sees: the character white on black, scaled and centred.

    The background is the picture's most common colour, or what is transparent; ink is what differs
    from it, darker or lighter. The box around the ink is scaled, its aspect ratio kept, until its
    longer side is `ink_size(config)`, and placed in the middle.

    Returns:
        float32 0..1 [image_height, image_width, n_channels], all channels equal.

    Raises:
        ValueError: the picture is empty.
    """
    ink = _ink(picture)
    strongest = ink.max()
    if strongest < _LEAST_CONTRAST:
        raise ValueError("the picture is empty (too little contrast)")
    ink[ink < _LEAST_INK * strongest] = 0
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = ink_size(config) / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    scaled = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR))
    image = np.zeros(config.image_shape, np.float32)
    top, left = (config.image_height - height + 1) // 2, (config.image_width - width + 1) // 2
    image[top : top + height, left : left + width] = (scaled / scaled.max())[..., np.newaxis]
    return image


def _ink(picture: Image.Image) -> Floats:
    """Returns how much each pixel differs from the background: float32 0..1 [height, width]."""
    colours, opacity = _colours(picture)
    if np.mean(opacity < 0.5) > 0.25:  # no background: the shape is what is opaque
        return opacity
    background = np.median(colours[opacity >= 0.5], axis=0)  # [channels]
    distance: Floats = np.abs(colours - background).max(axis=2) * opacity
    return distance


def _colours(picture: Image.Image) -> tuple[Floats, Floats]:
    """Returns colours [height, width, channels] and opacity [height, width], float32 0..1."""
    size = _LARGEST_SIDE, _LARGEST_SIDE
    if picture.mode[0] in "IF":  # I, I;16, F: more than 8 bits, of any range
        deep = (picture if picture.mode == "F" else picture.convert("I")).convert("F")
        deep.thumbnail(size)
        grey: Floats = np.nan_to_num(np.asarray(deep), posinf=0, neginf=0)
        grey = grey / max(np.abs(grey).max(), 1e-30)
        return grey[..., np.newaxis], np.ones_like(grey)
    opaque = picture if picture.has_transparency_data else picture.convert("RGB")
    rgba = opaque.convert("RGBA")
    rgba.thumbnail(size)
    values: Any = np.asarray(rgba, np.float32) / 255
    return values[..., :3], values[..., 3]
