"""Stage build_ascii_tarball: letters drawn in many typefaces, one folder a class, in one tar file.

    a/00000.png b/00000.png ... z/00099.png    grey PNGs, white on black
    manifest.csv                               file,typeface,family,style,case of each of them

Same params, same bytes, on any machine: each image has a random generator of its own, and nothing
is compressed, because zlib and its replacements give different bytes for the same content.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import Typeface, draw_letter, find_typefaces
from stages.mnist.errors import run
from stages.mnist.files import replacing

TARBALL = Path("data/ascii_letter/letters.tar")


class Letter(NamedTuple):
    """One drawn letter."""

    filename: str
    """class/number.png"""
    png: bytes
    typeface: Typeface
    case: str
    """capital or small"""


def draw_letters(config: AsciiLetterConfig) -> Iterator[Letter]:
    """Yields n_images_per_class letters of each class, the classes in turn, no two images the same."""
    seen: set[bytes] = set()
    for number in range(config.n_images_per_class):
        for name in config.class_names:
            attempts = (_draw(config, name, number, attempt) for attempt in itertools.count())
            letter, digest = next(
                (letter, digest)
                for letter in attempts
                if (digest := hashlib.blake2b(letter.png, digest_size=16).digest()) not in seen
            )
            seen.add(digest)
            yield letter


def _draw(config: AsciiLetterConfig, name: str, number: int, attempt: int) -> Letter:
    # Only random() is promised to give the same numbers in every version of Python.
    draw = random.Random(f"{config.seed}/{name}/{number}/{attempt}").random
    families = find_typefaces()
    family = families[int(draw() * len(families))]
    typeface = family[int(draw() * len(family))]
    case = "capital" if draw() < 0.5 else "small"
    sizes = range(config.smallest_letter, config.largest_letter + 1)
    size = sizes[int(draw() * len(sizes))]
    right, down = ((2 * draw() - 1) * config.off_center for _ in range(2))
    character = name.upper() if case == "capital" else name
    shape = config.image_height, config.image_width
    image = draw_letter(character, typeface, size, (right, down), shape)
    png = io.BytesIO()
    image.save(png, "PNG", compress_level=0)
    return Letter(f"{name}/{number:05d}.png", png.getvalue(), typeface, case)


def write_tarball(target: Path, letters: Iterator[Letter]) -> int:
    """Writes letters and their manifest to an uncompressed tar file without owners and times.

    Returns:
        The number of letters.
    """
    manifest = io.StringIO()
    table = csv.writer(manifest, lineterminator="\n")
    table.writerow(("file", "typeface", "family", "style", "case"))
    n_letters = 0
    with replacing(target) as path, tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for letter in letters:
            face = letter.typeface
            table.writerow((letter.filename, face.name, face.family, face.style, letter.case))
            _add(tar, letter.filename, letter.png)
            n_letters += 1
        _add(tar, "manifest.csv", manifest.getvalue().encode())
    return n_letters


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    n_letters = write_tarball(TARBALL, draw_letters(config))
    n_typefaces = sum(len(family) for family in find_typefaces())
    print(f"{TARBALL}: {n_letters} letters in {n_typefaces} typefaces")


if __name__ == "__main__":
    run(main)
