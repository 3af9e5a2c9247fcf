"""The typefaces that letters are drawn in: a table of families, and hashes of their font files."""

import csv
import functools
import math
import string
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from annotated_types import Len
from PIL import Image, ImageFont

from letterpress.core.errors import PipelineError
from letterpress.core.params import Params
from letterpress.fetching.fetch import File, Source

_TABLE = Path(__file__).with_name("typefaces.csv")
_HASHES = Path(__file__).with_name("typefaces.sha256")
"""The output of sha256sum in the fetched folder."""


class FetchTypefacesConfig(Params):
    """Where the font files come from."""

    inherits_root: ClassVar[bool] = False

    sources: Annotated[list[Source], Len(1)]
    """Tried in turn. See `letterpress/fetching/fetch.py`."""


class Family(NamedTuple):
    """A row of the table."""

    family: str
    package: str
    """Its name in the npm registry after @fontsource/, and the start of its files' names."""
    version: str
    style: str
    """serif, sans-serif, monospace, display, handwriting or script (joined letters)."""
    split: str
    """train, validation or unseen: where all letters of the family go."""
    license: str


class Typeface(NamedTuple):
    """One font file."""

    family: str
    style: str
    path: Path

    @property
    def name(self) -> str:
        """The file's name without its suffix: "lora-latin-400-italic"."""
        return self.path.stem


Families = Sequence[Sequence[Typeface]]


def read_families() -> list[Family]:
    """Reads the table, in its order."""
    _, *rows = csv.reader(_TABLE.read_text("utf-8").splitlines())
    return [Family(*row) for row in rows]


def list_files() -> list[File]:
    """Lists the font files with their hashes, sorted by name."""
    versions = {family.package: family.version for family in read_families()}
    files = []
    for line in _HASHES.read_text("utf-8").splitlines():
        sha256, name = line.split()
        package = name.partition("-latin-")[0]
        files.append(File(name, sha256, package, versions[package]))
    return files


def find_typefaces(folder: Path, split: str) -> Families:
    """Finds the font files of each family of a split in the fetched folder, in the table's order.

    Raises:
        PipelineError: a file is missing.
    """
    paths: dict[str, list[Path]] = {}
    for file in list_files():
        paths.setdefault(file.package, []).append(folder / file.name)
    families = [
        [Typeface(family.family, family.style, path) for path in paths[family.package]]
        for family in read_families()
        if family.split == split
    ]
    for typeface in chain(*families):
        if not typeface.path.is_file():
            raise PipelineError(f"{typeface.path}: no such file. Run `dvc repro fetch_typefaces`")
    return families


def check_typeface(typeface: Typeface) -> None:
    """Refuses a font file that cannot teach the letters.

    Raises:
        PipelineError: a letter is missing or blank, or letters of different classes look the same
            (except I and l).
    """
    font = _font(typeface.path, 64)
    # U+FFFF is never a character: every font draws its sign for missing ones.
    missing = _ink(font, "\uffff")
    drawn: dict[tuple[tuple[int, int], bytes], str] = {}
    for letter in string.ascii_letters:
        ink = _ink(font, letter)
        if ink == missing or not any(ink[1]):
            raise PipelineError(f"{typeface.path}: has no letter {letter}. Use another file")
        other = drawn.setdefault(ink, letter)
        if other.lower() != letter.lower() and {other, letter} != {"I", "l"}:
            raise PipelineError(
                f"{typeface.path}: draws {other} and {letter} alike. Use another file"
            )


@functools.lru_cache(maxsize=4096)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    # Not ImageFont.truetype(): for a damaged file it loads a system font with the same file name.
    # BASIC, because Pillow would otherwise use Raqm on machines that have it.
    return ImageFont.FreeTypeFont(path, size, layout_engine=ImageFont.Layout.BASIC)


def _mask(font: ImageFont.FreeTypeFont, text: str) -> Any:
    """Draws text white on black, cropped to its ink."""
    mask = font.getmask(text)
    return mask.crop(mask.getbbox() or (0, 0, *mask.size))


def _ink(font: ImageFont.FreeTypeFont, text: str) -> tuple[tuple[int, int], bytes]:
    """Draws text white on black, cropped to its ink: its size in pixels, and the pixels."""
    ink = _mask(font, text)
    return ink.size, bytes(ink)


@functools.lru_cache(maxsize=65536)
def draw_ink(text: str, typeface: Typeface, size: int, shape: tuple[int, int]) -> Image.Image:
    """Draws characters white on black, cropped to their ink: a grey image (mode L, 0..255).

    `size` is the longer side of the ink in pixels. It is reduced until the ink fits into an image
    of `shape`, (height, width) in pixels, with a margin of one pixel.
    """
    height, width = shape
    # Only its size: to copy a large drawing takes as long as to draw it.
    em = max(1, round(200 * size / max(_mask(_font(typeface.path, 200), text).size)))
    while True:
        ink_size, pixels = _ink(_font(typeface.path, em), text)
        if (ink_size[0] <= width - 2 and ink_size[1] <= height - 2) or em <= 1:
            return Image.frombytes("L", ink_size, pixels)
        em -= 1


def places(available: int, needed: int, off_center: float) -> range:
    """Returns the allowed offsets of ink along one axis, in pixels.

    They are inside the image and at most `off_center` from the centered position. If no whole
    number satisfies both, the nearest one is returned.
    """
    room = (available - needed) / 2
    most = max(0, min(room, off_center))
    allowed = range(math.ceil(room - most), math.floor(room + most) + 1)
    # Not round(), which rounds 0.5 down and 1.5 up.
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
