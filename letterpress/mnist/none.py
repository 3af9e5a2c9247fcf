"""Makes images of no digit from digits, so that the classifier learns to say so.

Training on such images beside the classes is outlier exposure (Hendrycks, Mazeika and Dietterich
2019), here with an output of their own. No stroke is drawn: parts of digits look like other marks.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Grey = npt.NDArray[np.uint8]
"""White on black, 0..255 [side, side]."""
Draw = Callable[[], Grey]
"""Returns a digit at random."""


def make_none(digits: npt.NDArray[np.uint8], random: np.random.Generator) -> Grey:
    """Makes an image of no digit from some of `digits`, uint8 0..255 [n, side, side].

    Its center of mass is moved to the center of the image, as in MNIST's images.
    """
    make = (_lay_over, _put_together, _pair)[random.integers(3)]
    image = make(lambda: np.asarray(digits[random.integers(len(digits))]), random)
    center = ndimage.center_of_mass(image)
    by = [round((side - 1) / 2 - at) for side, at in zip(image.shape, center, strict=True)]
    return np.asarray(ndimage.shift(image, by, order=0), np.uint8)


def _lay_over(draw: Draw, random: np.random.Generator) -> Grey:
    """Lays two or three digits over each other, turned and shifted."""
    turned = [_turn(draw(), random) for _ in range(random.integers(2, 4))]
    shifted = [np.roll(image, random.integers(-5, 6, 2), (0, 1)) for image in turned]
    return np.asarray(np.max(shifted, axis=0))


def _put_together(draw: Draw, random: np.random.Generator) -> Grey:
    """Puts together the quarters of four digits, each turned."""
    image = np.zeros_like(draw())
    half = len(image) // 2
    for rows in (slice(None, half), slice(half, None)):
        for columns in (slice(None, half), slice(half, None)):
            image[rows, columns] = _turn(draw(), random)[rows, columns]
    return image


def _pair(draw: Draw, _: np.random.Generator) -> Grey:
    """Puts two digits of half the size side by side."""
    left, right = (np.asarray(Image.fromarray(draw()).reduce(2)) for _ in range(2))
    image, quarter = np.zeros_like(draw()), len(left) // 2
    image[quarter : quarter + len(left)] = np.hstack([left, right])
    return image


def _turn(image: Grey, random: np.random.Generator) -> Grey:
    """Turns an image by a multiple of 90 degrees, and mirrors every second one."""
    turned = np.rot90(image, int(random.integers(4)))
    return np.asarray(turned.T if random.random() < 0.5 else turned)
