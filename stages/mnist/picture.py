"""Any picture of one character, turned into an image like those that a classifier was trained on."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError

_LARGEST_SIDE = 1024
"""Pixels; a larger picture is shrunk to it first: time and memory stay small."""
_LEAST_CONTRAST = 0.1
"""Of black to white; noise and JPEG's artefacts on an empty picture stay below."""
_LEAST_INK = 0.25
"""Of the strongest ink; shadows and noise on the paper stay below."""

Floats = npt.NDArray[np.float32]


def ink_size(config: MnistConfig) -> int:
    """Returns how long the longer side of a character is in the images, pixels.

    MNIST's digits fill 20 of 28 pixels; a child's images should have characters of the same share.
    """
    return min(config.image_height, config.image_width) * 20 // 28


def open_picture(content: bytes) -> Image.Image:
    """Decodes a picture file, the first frame of an animation, upright as its EXIF data say.

    Raises:
        PipelineError: it is no picture, damaged, or larger than Image.MAX_IMAGE_PIXELS.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities in a file's metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                return ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise PipelineError("no picture in a format that Pillow reads") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PipelineError(
            f"more than {Image.MAX_IMAGE_PIXELS} pixels: shrink or crop it"
        ) from error
    except Exception as error:  # Pillow's decoders raise anything on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PipelineError(f"the picture is damaged or not supported: {reason:.200}") from error


def prepare(picture: Image.Image, config: MnistConfig) -> Floats:
    """Makes the image that the classifier sees: the character white on black, scaled and centred.

    The background is the colour of most of the picture, or what is transparent; ink is what differs
    from it, darker or lighter. The box around the ink is scaled, its aspect ratio kept, until its
    longer side is `ink_size(config)`, and placed in the middle.

    Args:
        picture: of any size and any mode that `open_picture` returns.
        config: image_height, image_width and n_channels; all channels are made the same.

    Returns:
        float32 0..1 [image_height, image_width, n_channels].

    Raises:
        PipelineError: there is nothing on the picture.
    """
    ink = _ink(picture)
    strongest = ink.max()
    if strongest < _LEAST_CONTRAST:
        raise PipelineError("there is nothing on the picture")
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
    """Returns how far each pixel is from the background: float32 0..1 [height, width]."""
    colours, opacity = _colours(picture)
    if np.mean(opacity < 0.5) > 0.25:  # drawn on nothing: the shape is what can be seen of it
        return opacity
    background = np.median(colours[opacity >= 0.5], axis=0)  # [channels]
    distance: Floats = np.abs(colours - background).max(axis=2) * opacity
    return distance


def _colours(picture: Image.Image) -> tuple[Floats, Floats]:
    """Returns a picture's colours, float32 0..1 [height, width, channels], and opacity [height, width]."""
    size = _LARGEST_SIDE, _LARGEST_SIDE
    if picture.mode in ("I", "F") or picture.mode.startswith(
        "I;16"
    ):  # more than 8 bits, of any range
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
