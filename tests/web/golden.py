"""Letters and pictures on which the page must agree with Python."""

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.conditions.pictures import CONDITIONS, draw_picture
from letterpress.prediction.picture import ink_size, open_picture, prepare_each


def draw_letters(config: AsciiLetterConfig) -> npt.NDArray[np.uint8]:
    """Draws a capital of each class: 0..255 [n_classes, image_height, image_width, 1]."""
    font, size = ImageFont.load_default(ink_size(config)), (config.image_width, config.image_height)
    letters = []
    for name in config.class_names:
        letters.append(Image.new("L", size))
        center = size[0] / 2, size[1] / 2
        ImageDraw.Draw(letters[-1]).text(center, name.upper(), 255, font, anchor="mm")
    return np.stack([np.asarray(letter) for letter in letters])[..., np.newaxis]


def draw_pictures(config: AsciiLetterConfig) -> dict[str, dict[str, Any]]:
    """Draws a picture file per condition, with the images that `predict` makes of it, or an error."""
    letters = draw_letters(config)[..., 0]
    golden: dict[str, dict[str, Any]] = {}
    for index, condition in enumerate(CONDITIONS):
        letter, other = letters[index % len(letters)], letters[(index + 1) % len(letters)]
        content = draw_picture(condition, letter, other, np.random.default_rng(index))
        golden[condition] = {"file": base64.b64encode(content).decode()}
        try:
            images = prepare_each(open_picture(condition, content), config)
            golden[condition]["images"] = [image[..., 0].ravel() for image in images]
        except ValueError as error:
            golden[condition]["error"] = str(error)
    return golden
