"""Draws what is not a letter, so that a classifier learns to say so.

Training on such images beside the classes is outlier exposure (Hendrycks, Mazeika and Dietterich
2019), here with an output of their own. Some kinds are kept out of training: only they show whether
the classifier knows what it has never seen.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from letterpress.ascii_letter.pen import Points, draw_lines
from letterpress.ascii_letter.typefaces import Families, Typeface, draw_ink, places
from letterpress.records.example import digest

Grey = npt.NDArray[np.uint8]
"""0..255 [height, width]."""

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Drawing(NamedTuple):
    """An image of no letter."""

    image: Grey
    kind: str
    typeface: Typeface | None
    """None if nothing is printed."""


def draw_none(
    families: Families,
    kinds: Sequence[str],
    shape: tuple[int, int],
    random: np.random.Generator,
    shard: int = 0,
    n_shards: int = 1,
) -> Iterator[Drawing]:
    """Draws a shard's images of the kinds in turn, endlessly, none of which another shard draws."""
    typefaces = [typeface for family in families for typeface in family]
    for kind in cycle(kinds):
        if text := _TEXTS.get(kind):
            typeface = typefaces[random.integers(len(typefaces))]
            image = _print(text(random), typeface, shape, random, shard, n_shards)
            if image is not None:
                yield Drawing(_TURNS.get(kind, np.asarray)(image), kind, typeface)
        elif lines := _LINES.get(kind):
            # Lines and fields have real numbers at random: no two are the same.
            yield Drawing(draw_lines(lines(random), shape, random), kind, None)
        else:
            yield Drawing(_FIELDS[kind](shape, random), kind, None)


def _print(
    text: str,
    typeface: Typeface,
    shape: tuple[int, int],
    random: np.random.Generator,
    shard: int,
    n_shards: int,
) -> Grey | None:
    """Prints characters in a random size and place; None if the shard has no place for this print."""
    height, width = shape
    ink = draw_ink(text, typeface, 64, (64 * 16, 64 * 16))
    scale = random.uniform(18, 27) * min(shape) / 32 / max(*ink.size, 1)
    size = max(1, round(ink.width * scale)), max(1, round(ink.height * scale))
    pixels = np.asarray(ink.resize(size, Image.Resampling.BOX))
    columns, rows = (places(room, n, 2) for room, n in zip((width, height), size, strict=True))
    column, row = int(random.integers(len(columns))), int(random.integers(len(rows)))
    # Places are dealt to the shards, as in `drawing._draw_in_places`: this one or one before it.
    place = row * len(columns) + column
    place -= (place + digest(pixels.tobytes()) - shard) % n_shards
    if place < 0:
        return None
    top, left = rows[place // len(columns)], columns[place % len(columns)]
    image = np.zeros(shape, np.uint8)
    image[top : top + size[1], left : left + size[0]] = pixels
    return image


def _characters(choices: str, n: int) -> Callable[[np.random.Generator], str]:
    return lambda random: "".join(random.choice(list(choices), n))


def _scribble(random: np.random.Generator) -> list[Points]:
    """A pen that wanders: a sum of sines with random frequencies in each direction."""
    t = np.linspace(0, 1, 400)[:, None, None]
    frequencies = random.uniform(1, 5, (1, 4, 2))
    amplitudes = random.normal(0, 1, (1, 4, 2)) / frequencies**0.5
    waves = amplitudes * np.sin(2 * np.pi * frequencies * t + random.uniform(0, 7, (1, 4, 2)))
    line = waves.sum(axis=1)
    return [line / line.std(axis=0)]  # as wide as high: a flat one would look like I


def _path(*corners: tuple[float, float]) -> Points:
    """Points along straight lines between corners."""
    steps = np.linspace(0, 1, 60, endpoint=False)[:, None]
    ends = np.array(corners, float)
    pieces = [a + (b - a) * steps for a, b in pairwise(ends)]
    return np.concatenate([*pieces, ends[-1:]])


def _zigzag(random: np.random.Generator) -> list[Points]:
    n = int(random.integers(6, 10))  # fewer would look like N, W or Z
    corners = [(x + random.normal(0, 0.1), x % 2 * random.uniform(1, n / 2)) for x in range(n)]
    turned = random.random() < 0.5
    return [_path(*((y, x) if turned else (x, y) for x, y in corners))]


def _spiral(random: np.random.Generator) -> list[Points]:
    angle = np.linspace(0, 2 * np.pi * random.uniform(1.5, 2.5), 600)[:, None]
    turned = angle * random.choice([-1, 1]) + random.uniform(0, 7)
    return [angle * np.concatenate([np.cos(turned), np.sin(turned)], axis=1)]


_SYMBOLS: tuple[tuple[Points, ...], ...] = (
    (_path((0, 0), (4, 0)), _path((3, -1), (4, 0), (3, 1))),  # arrow
    (_path((0, 2), (1, 3), (4, 0)),),  # check mark
    (_path((2, 0), (3.2, 3.6), (0, 1.4), (4, 1.4), (0.8, 3.6), (2, 0)),),  # star
    (_path((0, 4), (0, 2), (2, 0), (4, 2), (4, 4), (0, 4)),),  # house
    (_path((0, 0), (4, 0), (4, 4), (0, 4), (0, 0)), _path((0, 0), (4, 4))),  # crossed box
    (_path((2, 0), (4, 3.5), (0, 3.5), (2, 0)),),  # triangle
    (_path((0, 1), (4, 1)), _path((0, 3), (4, 3)), _path((1, 0), (1, 4)), _path((3, 0), (3, 4))),
    (_path((2, 4), (0, 1.5), (1, 0.3), (2, 1.2), (3, 0.3), (4, 1.5), (2, 4)),),  # heart
)


def _symbol(random: np.random.Generator) -> list[Points]:
    angle = random.normal(0, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.exp(random.normal(0, 0.15, 2))
    return [(line * stretch) @ turn for line in _SYMBOLS[random.integers(len(_SYMBOLS))]]


def _field(
    smallest: float, largest: float
) -> Callable[[tuple[int, int], np.random.Generator], Grey]:
    def draw(shape: tuple[int, int], random: np.random.Generator) -> Grey:
        sigma = random.uniform(smallest, largest) * min(shape) / 32
        field = gaussian_filter(random.normal(0, 1, shape), sigma)
        field = (field - field.min()) / max(np.ptp(field), 1e-9)
        grey: Grey = np.round(255 * field ** random.uniform(0.5, 3)).astype(np.uint8)
        return grey

    return draw


_TEXTS = {
    # The other digits may pass for letters: O, l, Z, S, b and g.
    "digits 3 4 7 8": _characters("3478", 1),
    "punctuation": _characters('!?&%$#@+=*"~^', 1),
    "pairs of letters": _characters(_LETTERS, 2),
    # Those that look like no other letter then.
    "mirrored letters": _characters("BCDEFGKNRek", 1),
    "letters on their side": _characters("ABFGIKPRTVYabdefghklprtvy", 1),
    "brackets and dots": _characters("()[]{}<>:;-_", 1),
    "words": _characters(_LETTERS, 4),
}
_TURNS: dict[str, Callable[[Grey], Grey]] = {
    "mirrored letters": np.fliplr,
    "letters on their side": np.rot90,
}
_LINES: dict[str, Callable[[np.random.Generator], list[Points]]] = {
    "scribbles": _scribble,
    "symbols": _symbol,
    "zigzags": _zigzag,
    "spirals": _spiral,
}
_FIELDS = {"noise": _field(0, 2), "smooth fields": _field(3, 8)}

TRAINED_KINDS = (
    "digits 3 4 7 8",
    "punctuation",
    "pairs of letters",
    "mirrored letters",
    "letters on their side",
    "scribbles",
    "noise",
)
NEW_KINDS = ("brackets and dots", "words", "symbols", "zigzags", "spirals", "smooth fields")
"""Drawn for the unseen split only."""
