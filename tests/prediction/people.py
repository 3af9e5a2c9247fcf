"""Pictures as people take them: a drawn character on sheets of several kinds."""

import numpy as np
from PIL import Image, ImageDraw

from letterpress.prediction.ink import Floats

SIDE = 400
PAPER, INK = 240, 30
FOUR = [[(150, 90), (110, 220), (260, 220)], [(220, 130), (220, 310)]]
"""Strokes of a 4, on a sheet of SIDE pixels; its lines touch."""


def draw(width: int = 24, left: int = 0, paper: int = PAPER, ink: int = INK) -> Floats:
    """Draws the 4 with a pen, moved to the right: 0..255 [SIDE, SIDE]."""
    image = Image.new("L", (SIDE, SIDE), paper)
    pen = ImageDraw.Draw(image)
    for stroke in FOUR:
        points = [(x + left, y) for x, y in stroke]
        pen.line(points, fill=ink, width=width, joint="curve")
        for x, y in points:  # round ends
            half = width / 2
            pen.ellipse((x - half, y - half, x + half, y + half), fill=ink)
    return np.asarray(image, np.float32)


def as_picture(values: Floats) -> Image.Image:
    return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))


def on(background: Floats) -> Floats:
    """Draws the 4 with ink that covers the background."""
    return np.where(draw() < 100, draw(), background)


def shaded(values: Floats, depth: float = 0.35) -> Floats:
    """Takes light away, up to `depth` at the lower right corner."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    shaded: Floats = values * (1 - depth * (rows + columns) / 2)
    return shaded


def hand_shadow(values: Floats) -> Floats:
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    distance = np.hypot(rows - 1, columns - 1)
    shaded: Floats = values * (1 - 0.4 / (1 + np.exp((distance - 0.6) / 0.04)))
    return shaded


def noisy(values: Floats, deviation: float) -> Floats:
    noise = np.random.default_rng(0).normal(0, deviation, values.shape)
    return values + noise.astype(np.float32)


def ruled(grey: int = 150, step: int = 40, squared: bool = False) -> Floats:
    """An empty sheet with lines of 2 pixels."""
    sheet = np.full((SIDE, SIDE), PAPER, np.float32)
    for start in (step // 2, step // 2 + 1):
        sheet[start::step] = grey
        if squared:
            sheet[:, start::step] = grey
    return sheet


def with_box(values: Floats) -> Floats:
    """Draws the box of a form around the character."""
    image = as_picture(values)
    ImageDraw.Draw(image).rectangle((60, 50, 320, 350), outline=INK, width=4)
    return np.asarray(image, np.float32)


def scribble() -> Floats:
    image = Image.new("L", (SIDE, SIDE), PAPER)
    points = np.random.default_rng(3).uniform(80, 320, (30, 2)).tolist()
    ImageDraw.Draw(image).line([tuple(point) for point in points], fill=INK, width=8)
    return np.asarray(image, np.float32)
