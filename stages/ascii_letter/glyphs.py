"""Typefaces, all from pinned packages, and how a letter of one is drawn."""

from __future__ import annotations

import functools
import importlib.util
import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageFont

from stages.mnist.errors import PipelineError


class Typeface(NamedTuple):
    """One font file."""

    family: str
    style: str
    """The broad style: serif, sans-serif, monospace, cursive or display, as in CSS."""
    path: Path

    @property
    def name(self) -> str:
        """The file's name without its ending: "Lato-BoldItalic"."""
        return self.path.stem


# family, style, package, folder in it, pattern of the files' names
_FAMILIES = (
    ("Caladea", "serif", "font_caladea", "files", r"Caladea-.+\.ttf"),
    ("Computer Modern Roman", "serif", "matplotlib", "mpl-data/fonts/ttf", r"cm(r|b|ti|mi)10\.ttf"),
    ("DejaVu Serif", "serif", "matplotlib", "mpl-data/fonts/ttf", r"DejaVuSerif(-.+)?\.ttf"),
    ("STIX", "serif", "matplotlib", "mpl-data/fonts/ttf", r"STIXGeneral.*\.ttf"),
    ("Source Serif Pro", "serif", "font_source_serif_pro", "files", r"SourceSerifPro-.+\.ttf"),
    ("Computer Modern Sans", "sans-serif", "matplotlib", "mpl-data/fonts/ttf", r"cmss10\.ttf"),
    ("DejaVu Sans", "sans-serif", "matplotlib", "mpl-data/fonts/ttf", r"DejaVuSans(-.+)?\.ttf"),
    ("Hanken Grotesk", "sans-serif", "font_hanken_grotesk", "files", r"HankenGrotesk-.+\.otf"),
    ("Lato", "sans-serif", "font_lato", "files", r"Lato-.+\.ttf"),
    ("Manrope", "sans-serif", "font_manrope", "files", r"Manrope-(?!Variable).+\.ttf"),
    ("Source Sans Pro", "sans-serif", "font_source_sans_pro", "files", r"SourceSansPro-.+\.ttf"),
    ("Computer Modern Typewriter", "monospace", "matplotlib", "mpl-data/fonts/ttf", r"cmtt10\.ttf"),
    ("DejaVu Sans Mono", "monospace", "matplotlib", "mpl-data/fonts/ttf", r"DejaVuSansMono(-.+)?\.ttf"),
    ("Amatic SC", "cursive", "font_amatic_sc", "files", r"AmaticSC-.+\.ttf"),
    ("Intuitive", "cursive", "font_intuitive", "files", r"Intuitive\.ttf"),
    ("Fredoka One", "display", "font_fredoka_one", "files", r"FredokaOne-.+\.ttf"),
    ("Red Hat Display", "display", "font_rhd", "files", r"RedHatDisplay-.+\.ttf"),
)  # fmt: skip


@functools.cache
def find_typefaces() -> tuple[tuple[Typeface, ...], ...]:
    """Finds the files of each family, families in a fixed order, files by name.

    Raises:
        PipelineError: a package is not installed, or has no such files.
    """
    return tuple(_find_family(*family) for family in _FAMILIES)


def split_families(
    unseen: Collection[str],
) -> tuple[list[tuple[Typeface, ...]], list[tuple[Typeface, ...]]]:
    """Divides the families into seen and unseen ones, whole families, each in their fixed order.

    Args:
        unseen: the names of the families to keep out of training.

    Raises:
        PipelineError: a name is unknown, or a broad style is not on both sides.
    """
    families = find_typefaces()
    known = [faces[0].family for faces in families]
    unknown = sorted(set(unseen) - set(known))
    if unknown:
        raise PipelineError(
            f"unseen_families: no family {unknown[0]}; there are {', '.join(known)}"
        )
    sides = (
        [faces for faces in families if faces[0].family not in unseen],
        [faces for faces in families if faces[0].family in unseen],
    )
    styles = [{faces[0].style for faces in side} for side in sides]
    if styles[0] != styles[1]:
        odd = ", ".join(sorted(styles[0] ^ styles[1]))
        raise PipelineError(
            f"unseen_families: {odd} must be among the seen and the unseen families"
        )
    return sides


def _find_family(
    family: str, style: str, package: str, folder: str, pattern: str
) -> tuple[Typeface, ...]:
    spec = importlib.util.find_spec(package)  # does not import it
    if spec is None or spec.origin is None:
        raise PipelineError(
            f"the package {package} with the typeface {family} is not installed: "
            "run `make install`, or pip install -r requirements.txt"
        )
    found = sorted(Path(spec.origin).parent.joinpath(folder).glob("*"), key=lambda path: path.name)
    faces = tuple(Typeface(family, style, p) for p in found if re.fullmatch(pattern, p.name))
    if not faces:
        raise PipelineError(f"the package {package} has no file of the typeface {family}")
    return faces


@functools.lru_cache(maxsize=4096)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    # Not truetype(): where a file is damaged, that falls back on the system's typeface of its name.
    return ImageFont.FreeTypeFont(path, size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=65536)
def draw_ink(letter: str, typeface: Typeface, size: int, shape: tuple[int, int]) -> Image.Image:
    """Draws one letter alone, in white on black, its aspect ratio kept.

    Args:
        letter: one character.
        typeface: the font file.
        size: font size, pixels an em; smaller where the letter would touch the border of an image.
        shape: height and width of that image, pixels.

    Returns:
        A grey image (mode L, 0..255), no larger than its ink.
    """
    height, width = shape
    while True:
        mask = _font(typeface.path, size).getmask(letter)
        ink = mask.crop(mask.getbbox() or (0, 0, *mask.size))
        if (ink.size[0] <= width - 2 and ink.size[1] <= height - 2) or size <= 1:
            return Image.frombytes("L", ink.size, bytes(ink))
        size -= 1


def places(available: int, needed: int, off_center: float) -> range:
    """Returns where something may begin in a space: inside, off the centre by no more than `off_center`.

    Args:
        available: the space, pixels.
        needed: the thing, pixels.
        off_center: pixels, either way.

    Returns:
        Whole pixels, at least one: the place that is nearest to the centre.
    """
    room = (available - needed) / 2
    most = max(0, min(room, off_center))
    nearest = math.floor(0.5 + room)
    return range(math.ceil(room - most), math.floor(room + most) + 1) or range(nearest, nearest + 1)


def place_ink(
    ink: Image.Image, shape: tuple[int, int], place: tuple[int, int] | None = None
) -> Image.Image:
    """Places what `draw_ink` drew in an image.

    Args:
        ink: a grey image (mode L, 0..255).
        shape: height and width of the image around it, pixels.
        place: the ink's left and upper border, pixels; None centres it.

    Returns:
        A grey image (mode L, 0..255) of that shape, black beside the ink.
    """
    height, width = shape
    image = Image.new("L", (width, height))
    image.paste(ink, place or (places(width, ink.width, 0)[0], places(height, ink.height, 0)[0]))
    return image


def draw_letter(
    letter: str,
    typeface: Typeface,
    size: int,
    shape: tuple[int, int],
    place: tuple[int, int] | None = None,
) -> Image.Image:
    """Draws one letter into an image: `draw_ink`, then `place_ink`."""
    return place_ink(draw_ink(letter, typeface, size, shape), shape, place)
