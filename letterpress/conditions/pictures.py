"""Draws test images as people show characters: on paper, badly lit, ruled, beside another.

Imports no TensorFlow: worker processes run it.
"""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from letterpress.core.config import ClassifierConfig
from letterpress.prediction.picture import open_picture, prepare_each

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]
Random = np.random.Generator

SIDE = 320  # pixels of a sheet
_PAPER, _INK, _LINES = 240, 30, 150  # grey values

Strokes = list[list[tuple[float, float]]]


def _circle(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    angles = [math.tau * i / 24 for i in range(25)]
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


def _star(n_points: int, step: int) -> list[tuple[float, float]]:
    corners = [math.tau * i * step / n_points for i in range(n_points + 1)]
    return [(0.5 + 0.5 * math.sin(a), 0.5 - 0.5 * math.cos(a)) for a in corners]


_MARKS: list[Strokes] = [
    [
        [(0.3, 0), (0.2, 1)],
        [(0.8, 0), (0.7, 1)],
        [(0, 0.3), (1, 0.3)],
        [(0, 0.7), (1, 0.7)],
    ],  # hash
    [[(0.5, 0), (0.5, 1)], [(0.1, 0.2), (0.9, 0.8)], [(0.1, 0.8), (0.9, 0.2)]],  # asterisk
    [[(0, 0.5), (1, 0.5)], [(0.6, 0.2), (1, 0.5), (0.6, 0.8)]],  # arrow
    [_circle(0.2, 0.2, 0.2), _circle(0.8, 0.8, 0.2), [(0.9, 0), (0.1, 1)]],  # per cent
    [[(0, 0.35), (1, 0.35)], [(0, 0.7), (1, 0.7)]],  # equals
    [[(0, 0.5), (1, 0.5)], _circle(0.5, 0.1, 0.05), _circle(0.5, 0.9, 0.05)],  # divided by
    [[(i / 8, 0.3 + 0.4 * (i % 2)) for i in range(9)]],  # zigzag
    [[(0.5 + r * math.cos(30 * r), 0.5 + r * math.sin(30 * r)) for r in np.linspace(0, 0.5, 90)]],
    [_star(5, 2)],
    [_star(3, 1), _circle(0.5, 0.55, 0.12)],  # a triangle with an eye
]
"""Strokes in a unit square: neither letters nor digits."""


def _enlarge(image: Bytes, side: int) -> Values:
    """Returns the ink of an enlarged image: 0..1 [side, side]."""
    picture = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(picture, np.float32) / np.float32(255)


def _place(ink: Values, random: Random) -> Values:
    """Puts ink anywhere on a sheet, off the rim."""
    top, left = (int(random.integers(6, SIDE - side - 5)) for side in ink.shape)
    sheet = np.zeros((SIDE, SIDE), np.float32)
    sheet[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return sheet


def _write(ink: Values, paper: Any = _PAPER) -> Values:
    """Writes with dark ink on paper, grey values 0..255."""
    return np.asarray(paper * (1 - ink) + _INK * ink, np.float32)


def _light(random: Random) -> Values:
    """Returns light that falls by 35 % across the sheet in a random direction."""
    angle = random.uniform(0, math.tau)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance: Any = columns * math.cos(angle) + rows * math.sin(angle)
    light: Values = 1 - 0.35 * (distance - distance.min()) / np.ptp(distance)
    return light


def _rule(random: Random, squared: bool) -> Values:
    """Returns paper with lines of 1 or 2 pixels."""
    paper = np.full((SIDE, SIDE), _PAPER, np.float32)
    step, width = int(random.integers(20, 34)), int(random.integers(1, 3))
    for start in range(int(random.integers(0, step)), SIDE, step):
        paper[start : start + width] = _LINES
        if squared:
            paper[:, start : start + width] = _LINES
    return paper


def _redraw(image: Bytes, random: Random, width: float) -> Values:
    """Draws an image with a pen of another width: times `width`, about."""
    ink = _enlarge(image, int(random.uniform(0.45, 0.75) * SIDE)) > 0.4
    depth = ndimage.distance_transform_edt(ink)
    half = float(np.percentile(depth[ink], 90)) if ink.any() else 0.0
    if width < 1:
        ridge = ndimage.maximum_filter(depth, int(2 * half) + 1)
        # Relative to the depth of the stroke nearby: thin strokes become thinner, but do not vanish.
        drawn = ink & (depth > (1 - width) * ridge)
    else:
        drawn = ndimage.distance_transform_edt(~ink) <= (width - 1) * half
    return _place(ndimage.gaussian_filter(drawn.astype(np.float32), 0.7), random)


def _draw_two(image: Bytes, other: Bytes, random: Random) -> Values:
    """Puts two images side by side, with a gap between the ink."""
    side = int(random.uniform(0.32, 0.4) * SIDE)
    inks = []
    for one in (image, other):
        ink = _enlarge(one, side)
        columns = np.flatnonzero((ink > 0.1).any(axis=0))
        inks.append(ink[:, columns[0] : columns[-1] + 1] if len(columns) else ink)
    gap = np.zeros((side, int(random.uniform(0.15, 0.4) * side)), np.float32)
    return _place(np.hstack([inks[0], gap, inks[1]]), random)


def _draw_mark(random: Random) -> Values:
    """Draws a symbol or a scribble, neither letter nor digit, turned and stretched a little."""
    if random.random() < 0.3:
        strokes = [random.uniform(0, 1, (int(random.integers(12, 30)), 2))]
    else:
        strokes = [np.array(stroke) for stroke in _MARKS[random.integers(len(_MARKS))]]
    size, angle = random.uniform(110, 190), random.uniform(-0.3, 0.3)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    center = random.uniform(130, SIDE - 130, 2)
    sheet = Image.new("L", (SIDE, SIDE))
    for stroke in strokes:
        points = (stroke - 0.5) * random.uniform(0.8, 1.2, 2) @ turn * size + center
        line = [(float(x), float(y)) for x, y in points]
        ImageDraw.Draw(sheet).line(line, fill=255, width=int(random.integers(6, 13)), joint="curve")
    return np.asarray(sheet, np.float32) / np.float32(255)


def _on_sheet(image: Bytes, random: Random, paper: Any = _PAPER) -> Values:
    """Writes an enlarged image anywhere on a sheet."""
    ink = _enlarge(image, int(random.uniform(0.45, 0.75) * SIDE))
    return _write(_place(ink, random), paper)


def _noise(random: Random, deviation: float) -> Values:
    return random.normal(0, deviation, (SIDE, SIDE)).astype(np.float32)


FILES, JPEG, TWO, NOTHING = "picture files", "JPEG quality 30", "two characters", "not a character"
CONDITIONS: dict[str, Callable[[Bytes, Bytes, Random], Values | Bytes]] = {
    FILES: lambda image, _, random: image,
    "larger sheet": lambda image, _, random: _on_sheet(image, random),
    "shadow of 35 %": lambda image, _, random: _on_sheet(image, random) * _light(random),
    "noise of sd 15": lambda image, _, random: _on_sheet(image, random) + _noise(random, 15),
    "noise of sd 25": lambda image, _, random: _on_sheet(image, random) + _noise(random, 25),
    "ruled paper": lambda image, _, random: _on_sheet(image, random, _rule(random, squared=False)),
    "squared paper": lambda image, _, random: _on_sheet(image, random, _rule(random, squared=True)),
    JPEG: lambda image, _, random: _on_sheet(image, random),
    "thin pen": lambda image, _, random: _write(_redraw(image, random, 0.4)),
    "thick pen": lambda image, _, random: _write(_redraw(image, random, 1.6)),
    TWO: lambda image, other, random: _write(_draw_two(image, other, random)),
    NOTHING: lambda _, __, random: _write(_draw_mark(random)),
}
"""What each condition draws: grey values 0..255 [height, width]."""


def draw_picture(condition: str, image: Bytes, other: Bytes, random: Random) -> bytes:
    """Draws a picture file under one of CONDITIONS.

    `image` is white on black, uint8 0..255 [height, width]; `other` is used by TWO only.
    """
    values = CONDITIONS[condition](image, other, random)
    picture = Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))
    file = io.BytesIO()
    if condition == JPEG:
        picture.save(file, "JPEG", quality=30)
    else:
        picture.save(file, "PNG", compress_level=1)  # fast: it is read once and not kept
    return file.getvalue()


def prepare_pictures(
    config: ClassifierConfig, condition: str, images: Bytes, seed: Sequence[int]
) -> list[list[Values]]:
    """Draws a picture of each image, reads it, and returns the characters found in it."""
    random = np.random.default_rng(seed)
    found: list[list[Values]] = []
    # The second of two characters is the previous image.
    for image, other in zip(images, np.roll(images, 1, axis=0), strict=True):
        picture = open_picture(condition, draw_picture(condition, image, other, random))
        try:
            found.append(prepare_each(picture, config))
        except ValueError:  # nothing like a character
            found.append([])
    return found
