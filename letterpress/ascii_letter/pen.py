"""Draws lines as a pen does: of constant width, with the jitter of a hand."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize

from letterpress.ascii_letter.typefaces import Families, Typeface, draw_ink

Points = npt.NDArray[np.float64]
"""x and y [n, 2]."""

_SKELETON_SIZE = 110  # longer side, in pixels, of the glyphs whose skeletons are taken
_SCALE = 8  # lines are drawn enlarged, then averaged
_PEN_STYLES = ("handwriting", "sans-serif")


def pen_typefaces(families: Families) -> tuple[list[Typeface], list[Typeface]]:
    """Chooses the lightest upright file of each handwriting family, and of each sans-serif one."""
    by_style: dict[str, list[Typeface]] = {style: [] for style in _PEN_STYLES}
    for family in families:
        if family[0].style in by_style:
            upright = [typeface for typeface in family if typeface.name.endswith("normal")]
            # Names end in the weight, 300-normal or 400-normal: the first is the lightest.
            by_style[family[0].style].append(min(upright, key=lambda face: face.name))
    handwriting, sans = by_style.values()
    return handwriting, sans


@functools.lru_cache(maxsize=16384)
def skeleton(letter: str, typeface: Typeface) -> Points:
    """Returns the points of a glyph's skeleton (Zhang and Suen 1984), in pixels."""
    shape = 4 * _SKELETON_SIZE, 4 * _SKELETON_SIZE
    ink = np.pad(np.asarray(draw_ink(letter, typeface, _SKELETON_SIZE, shape)) > 127, 1)
    rows, columns = np.nonzero(skeletonize(ink))
    return np.stack([columns, rows], axis=1).astype(np.float64)


def jittered(points: Points, random: np.random.Generator) -> Points:
    """Rotates, slants, stretches and bends a letter, from hardly to as a hurried hand does."""
    level = random.uniform(0.2, 1.5)
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    points = points / max(np.abs(points).max(), 1e-9)  # -1..1
    angle = random.normal(0, 0.06 * level)
    # The mean is above 0: most hands lean to the right.
    shear = random.normal(0.05 * level, 0.12 * level)
    width = np.exp(random.normal(0, 0.12 * level))
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    points = points @ (rotation @ np.array([[width, -shear], [0, 1]])).T
    for _ in range(3):
        direction, phase = random.uniform(0, 2 * np.pi, 2)
        wave = np.pi * random.uniform(0.5, 1.5) * (points @ [np.cos(direction), np.sin(direction)])
        points = points + 0.044 * level * random.normal(0, 1, 2) * np.sin(wave + phase)[:, None]
    return points


def draw_lines(
    lines: Sequence[Points], shape: tuple[int, int], random: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Draws lines with one pen, in a random size and place: uint8 0..255 [height, width].

    Consecutive points are at most a thirtieth of the drawing apart.
    """
    height, width = shape
    side = min(shape)
    pen = random.uniform(1.4, 4.8) * side / 32
    size = random.uniform(20, 26) * side / 32 - pen
    points = np.concatenate(lines)
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - (low + high) / 2) * size / max((high - low).max(), 1e-9)
    points += np.array([width / 2, height / 2]) + random.uniform(-2, 2, 2) * side / 32
    paper = np.ones((height * _SCALE, width * _SCALE), np.bool_)
    columns, rows = np.clip(
        (points * _SCALE).astype(int), 0, (paper.shape[1] - 1, paper.shape[0] - 1)
    ).T
    paper[rows, columns] = False
    radius = pen / 2 * _SCALE
    near = tuple(  # distances are measured only where there may be ink
        slice(max(0, axis.min() - math.ceil(radius)), axis.max() + math.ceil(radius) + 1)
        for axis in (rows, columns)
    )
    ink = np.zeros_like(paper)
    ink[near] = distance_transform_edt(paper[near]) <= radius
    blocks = ink.reshape(height, _SCALE, width, _SCALE).mean(axis=(1, 3))
    grey: npt.NDArray[np.uint8] = np.round(blocks * 255).astype(np.uint8)
    return grey


def draw_pen_letter(
    letter: str, typeface: Typeface, shape: tuple[int, int], random: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Draws a letter with a pen along its skeleton in a typeface: uint8 0..255 [height, width]."""
    return draw_lines([jittered(skeleton(letter, typeface), random)], shape, random)
