"""Images and pictures on which the page must agree with Python."""

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from letterpress.conditions.pictures import CONDITIONS, draw_picture
from letterpress.core.config import ClassifierConfig
from letterpress.prediction.picture import ink_size, open_picture, prepare_each


def draw_images(config: ClassifierConfig) -> npt.NDArray[np.uint8]:
    """Draws each class, letters as capitals: 0..255 [n_classes, image_height, image_width, 1]."""
    font, size = ImageFont.load_default(ink_size(config)), (config.image_width, config.image_height)
    images = []
    for name in config.class_names:
        images.append(Image.new("L", size))
        center = size[0] / 2, size[1] / 2
        ImageDraw.Draw(images[-1]).text(center, name.upper(), 255, font, anchor="mm")
    return np.stack([np.asarray(image) for image in images])[..., np.newaxis]


def draw_pictures(config: ClassifierConfig) -> dict[str, dict[str, Any]]:
    """Draws a picture file per condition, with the images that `predict` makes of it, or an error."""
    classes = draw_images(config)[..., 0]
    golden: dict[str, dict[str, Any]] = {}
    for index, condition in enumerate(CONDITIONS):
        image, other = classes[index % len(classes)], classes[(index + 1) % len(classes)]
        content = draw_picture(condition, image, other, np.random.default_rng(index))
        golden[condition] = {"file": base64.b64encode(content).decode()}
        try:
            found = prepare_each(open_picture(condition, content), config)
            golden[condition]["images"] = [each[..., 0].ravel() for each in found]
        except ValueError as error:
            golden[condition]["error"] = str(error)
    return golden
