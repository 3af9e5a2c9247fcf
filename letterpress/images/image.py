"""Decodes one image: the same way for training and for prediction."""

import numpy as np
import numpy.typing as npt

from letterpress.images.config import ImagesConfig
from letterpress.records.image import decode_image


def decode(name: str, content: bytes, config: ImagesConfig) -> npt.NDArray[np.uint8]:
    """Decodes an image file of any size and mode, scaled, padded, and inverted if config.invert.

    Returns:
        uint8 0..255 [image_height, image_width, n_channels]. See `decode_image` for errors.
    """
    image = decode_image(
        name, content, config, fit=True, paper="white" if config.invert else "black"
    )
    return 255 - image if config.invert else image
