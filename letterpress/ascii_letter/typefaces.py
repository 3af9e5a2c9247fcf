"""Finds typefaces in pinned packages and draws single letters."""

import csv
import functools
import importlib.util
import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageFont

from letterpress.core.errors import PipelineError


class Typeface(NamedTuple):
    """One font file."""

    family: str
    style: str
    """serif, sans-serif, monospace, cursive or display."""
    path: Path

    @property
    def name(self) -> str:
        """The file name without its suffix: "Lato-BoldItalic"."""
        return self.path.stem


Families = Sequence[Sequence[Typeface]]

_FAMILIES = Path(__file__).with_name("typefaces.csv")  # in their fixed order


@functools.cache
def find_typefaces() -> tuple[tuple[Typeface, ...], ...]:
    """Finds the files of all families: families in a fixed order, files sorted by name."""
    families = []
    _, *table = csv.reader(_FAMILIES.read_text("utf-8").splitlines())
    for family, style, package, pattern in table:
        folder = "mpl-data/fonts/ttf" if package == "matplotlib" else "files"
        spec = importlib.util.find_spec(package)  # does not import the package
        files = Path(spec.origin).parent.joinpath(folder).glob("*") if spec and spec.origin else ()
        paths = [path for path in files if re.fullmatch(pattern, path.name)]
        if not paths:
            problem = f"typeface {family}: no file {pattern} in the package {package}"
            raise PipelineError(
                f"{problem}. Run `make install`, or pip install -r requirements.txt"
            )
        paths.sort(key=lambda path: path.name)
        families.append(tuple(Typeface(family, style, path) for path in paths))
    return tuple(families)


def split_families(unseen: Collection[str]) -> tuple[Families, Families]:
    """Splits the typefaces into the seen families and the `unseen` ones, in their fixed order.

    Raises:
        PipelineError: a family is unknown, or all families of a style are on one side.
    """
    families = {faces[0].family: faces for faces in find_typefaces()}
    unknown = sorted(set(unseen) - set(families))
    if unknown:
        raise PipelineError(
            f"unseen_families: unknown typeface family (got {unknown[0]}). "
            f"Choose from {', '.join(families)}"
        )
    seen = [faces for name, faces in families.items() if name not in unseen]
    kept_out = [faces for name, faces in families.items() if name in unseen]
    seen_styles, unseen_styles = ({faces[0].style for faces in side} for side in (seen, kept_out))
    if seen_styles != unseen_styles:
        odd = ", ".join(sorted(seen_styles ^ unseen_styles))
        raise PipelineError(
            f"unseen_families: all families of a style are on one side (got {odd}). "
            "List some families of each style, but not all"
        )
    return seen, kept_out


@functools.lru_cache(maxsize=4096)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    # Not ImageFont.truetype(): for a damaged file it loads a system font with the same file name.
    return ImageFont.FreeTypeFont(path, size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=65536)
def draw_ink(letter: str, typeface: Typeface, size: int, shape: tuple[int, int]) -> Image.Image:
    """Draws a character white on black, cropped to its ink: a grey image (mode L, 0..255).

    `size` is in pixels per em. It is reduced until the ink fits into an image of `shape`, (height,
    width) in pixels, with a margin of one pixel.
    """
    height, width = shape
    while True:
        mask = _font(typeface.path, size).getmask(letter)
        ink = mask.crop(mask.getbbox() or (0, 0, *mask.size))
        if (ink.size[0] <= width - 2 and ink.size[1] <= height - 2) or size <= 1:
            return Image.frombytes("L", ink.size, bytes(ink))
        size -= 1


def places(available: int, needed: int, off_center: float) -> range:
    """Returns the allowed offsets of ink along one axis, in pixels.

    They are inside the image and at most `off_center` from the centered position. If no whole
    number is, the nearest one is returned.
    """
    room = (available - needed) / 2
    most = max(0, min(room, off_center))
    allowed = range(math.ceil(room - most), math.floor(room + most) + 1)
    nearest = math.floor(0.5 + room)
    return allowed or range(nearest, nearest + 1)


def draw_letter(
    letter: str,
    typeface: Typeface,
    size: int,
    shape: tuple[int, int],
    place: tuple[int, int] | None = None,
) -> Image.Image:
    """Draws a character into an image of `shape`: its ink at `place`, (left, top), or centered.

    See `draw_ink` for the other arguments. The image is grey (mode L, 0..255).
    """
    ink = draw_ink(letter, typeface, size, shape)
    height, width = shape
    center = places(width, ink.width, 0)[0], places(height, ink.height, 0)[0]
    image = Image.new("L", (width, height))
    image.paste(ink, place or center)
    return image
