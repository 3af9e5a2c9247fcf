"""Separates the ink of a picture from its paper."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Floats = npt.NDArray[np.float32]

SIDE = 320
"""The longer side of a picture while it is analysed, pixels; small pictures have at least half."""
_NOISY = 0.015  # of black to white, standard deviation; cleaner pictures keep thin lines
_EVEN = 0.15  # of ink to paper; a paper that varies more has a shadow on it
_CELL, _WINDOW = 8, 13  # pixels, and cells: strokes up to a third of the picture are not paper
_COARSE = 48  # pixels; wider than strokes


class Page(NamedTuple):
    """A picture at its working size."""

    grey: Floats
    """0..1 [height, width]"""
    noise: float
    """Standard deviation."""
    factor: int
    """Pixels of the page per pixel of the picture; 1 if the picture was reduced."""
    level: int = 0
    """The number of frames and sheets that were cut off around it."""


def read_page(picture: Image.Image) -> Page:
    """Scales a picture of mode L or RGB to the working size, in one channel, and filters noise.

    Colours become their mean, or one channel if its contrast is much greater.
    """
    longer, factor = max(picture.size), 1
    if longer > SIDE:
        width, height = (max(1, round(side * SIDE / longer)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BOX)
    else:
        factor = SIDE // longer
    colours: Any = np.asarray(picture, np.float32) / 255
    if colours.ndim == 3:
        spread, mean = colours.std(axis=(0, 1)), colours.mean(axis=2)
        best = int(spread.argmax())  # red ink on white has no contrast in the red channel
        colours = colours[..., best] if spread[best] > 1.5 * mean.std() else mean
    grey, noise = _denoise(_magnify(np.ascontiguousarray(colours), factor))
    return Page(grey, noise, factor)


def _magnify(grey: Floats, factor: int) -> Floats:
    """Enlarges a small picture smoothly. The means of its blocks are the pixels of the picture."""
    if factor == 1:
        return grey
    image = Image.fromarray(grey)
    size = image.width * factor, image.height * factor
    smooth = np.asarray(image.resize(size, Image.Resampling.BICUBIC)).clip(grey.min(), grey.max())
    missing = grey - np.asarray(Image.fromarray(smooth).reduce(factor))
    return smooth + np.kron(missing, np.ones((factor, factor), np.float32))


def _denoise(grey: Floats) -> tuple[Floats, float]:
    """Filters a noisy picture; returns it with the standard deviation of the noise that is left."""
    differences = grey[:, 1:-1] - (grey[:, :-2] + grey[:, 2:]) / 2
    # For noise of deviation 1, the differences' is 1.22, and the median of their sizes 0.826.
    noise = float(np.median(np.abs(differences))) / 0.826 if differences.size else 0.0
    if noise < _NOISY:
        return grey, noise
    return ndimage.gaussian_filter(grey, 0.7), 0.4 * noise  # what this filter leaves of it


def find_inks(grey: Floats) -> Iterator[Floats]:
    """Yields how much each pixel differs from the paper, 0..1 [height, width]: the likeliest first.

    If the paper is evenly lit, it is most of the rim, or else of the picture. Otherwise strokes
    differ from what is around them, and the paper under them is interpolated (grey closing); dark
    and light strokes are tried.
    """
    low, high = np.percentile(grey, [0.1, 99.9])  # a few pixels may be defects of the camera
    middle = (low + high) / 2
    light = grey > middle
    share = rim(light).mean()
    is_light = bool((share if abs(share - 0.5) > 0.3 else light.mean()) > 0.5)
    paper = grey[light == is_light]
    if paper.size and np.ptp(np.percentile(paper, [15, 85])) < _EVEN * (high - low):
        level = np.median(paper)
        yield np.maximum(level - grey if is_light else grey - level, 0)
    # Strokes are rare: the differences from what is around are skewed to their side.
    detail = grey - _enlarge(_shrink(grey, _COARSE), grey.shape)
    sides = (grey, 1 - grey) if (detail**3).mean() < 0 else (1 - grey, grey)
    for side in sides:
        yield np.maximum(_paper(side) - side, 0)


def rim(values: Any) -> Any:
    """Returns the outermost rows and columns of an array, one after the other."""
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _paper(grey: Floats) -> Floats:
    """Estimates the paper under dark ink."""
    cells = _shrink(grey, _CELL)
    margins = [(min(_WINDOW, side - 1),) * 2 for side in cells.shape]
    # Continues a slope of light beyond the rim.
    padded = np.pad(cells, margins, mode="reflect", reflect_type="odd").clip(None, cells.max())
    closed = ndimage.grey_closing(padded, _WINDOW)
    (top, _), (left, _) = margins
    inside = closed[top : top + cells.shape[0], left : left + cells.shape[1]]
    return _enlarge(np.ascontiguousarray(inside), grey.shape)


def _shrink(grey: Floats, cell: int) -> Floats:
    height, width = (max(2, side // cell) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))


def _enlarge(cells: Floats, shape: tuple[int, ...]) -> Floats:
    height, width = shape
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BILINEAR))
