"""Stage build_ascii_tarball: letters drawn in many typefaces.

raw/letters.tar is for training and test, raw/unseen.tar has typefaces that neither has. Same params,
same bytes, on any machine: each image has a random generator of its own.
"""

from __future__ import annotations

import csv
import io
import random
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tqdm import tqdm

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import Typeface, draw_letter, split_families
from stages.mnist.digests import DigestSet
from stages.mnist.errors import PipelineError, run
from stages.mnist.files import replacing

RAW = Path("data/ascii_letter/raw")
_MOST_ATTEMPTS = 10_000
CASES = ("capital", "small")


class Letter(NamedTuple):
    """A drawn letter and what the manifest says of it."""

    filename: str
    """class/number.png"""
    png: bytes
    typeface: str
    family: str
    style: str
    case: str
    """capital or small"""


def draw_letters(
    config: AsciiLetterConfig,
    families: Sequence[Sequence[Typeface]],
    n_per_class: int,
    alternate_cases: bool = False,
) -> Iterator[Letter]:
    """Yields n_per_class letters of each class, the classes in turn, no two images the same.

    A typeface's drawing of a letter comes again, at another place, only after all others came.

    Args:
        config: class_names, seed, letter_size, off_center and the size of the images.
        families: the typefaces to draw from; a family is drawn first, then one of its files.
        n_per_class: letters of each class.
        alternate_cases: capitals and small letters in turn, else at random.

    Raises:
        PipelineError: there are not so many different drawings.
    """
    seen = DigestSet()
    drawn: Counter[tuple[str, Typeface, str]] = Counter()
    n_drawings = len(CASES) * sum(map(len, families))
    for number in range(n_per_class):
        cases = CASES[number % 2 :][:1] if alternate_cases else CASES
        for name in config.class_names:
            for attempt in range(_MOST_ATTEMPTS):
                # Only random() is promised to give the same numbers in every version of Python.
                draw = random.Random(f"{config.seed}/{name}/{number}/{attempt}").random
                family = families[int(draw() * len(families))]
                typeface, case = family[int(draw() * len(family))], cases[int(draw() * len(cases))]
                if drawn[name, typeface, case] > number // n_drawings:
                    continue
                right, down = ((2 * draw() - 1) * config.off_center for _ in range(2))
                png = _draw_png(config, name, typeface, case, (right, down))
                if seen.add(png):
                    break
            else:
                raise PipelineError(
                    f"{number} different images of the letter {name} were found, the params ask for "
                    f"{n_per_class}: lower {config.section}.n_images_per_class or n_unseen_per_class"
                )
            drawn[name, typeface, case] += 1
            filename = f"{name}/{number:05d}.png"
            yield Letter(filename, png, typeface.name, typeface.family, typeface.style, case)


def _draw_png(
    config: AsciiLetterConfig,
    name: str,
    typeface: Typeface,
    case: str,
    off_center: tuple[float, float],
) -> bytes:
    character = name.upper() if case == "capital" else name
    shape = config.image_height, config.image_width
    png = io.BytesIO()
    image = draw_letter(character, typeface, config.letter_size, off_center, shape)
    image.save(png, "PNG", compress_level=0)
    return png.getvalue()


def write_tarball(target: Path, letters: Iterable[Letter]) -> None:
    """Writes letters and their manifest to a tar file without owners and times.

    It is not compressed: zlib and its replacements give different bytes for the same content.
    """
    with (
        tempfile.TemporaryFile() as manifest,
        tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        lines = io.TextIOWrapper(manifest, "utf-8", newline="")
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("file", "typeface", "family", "style", "case"))
        for letter in tqdm(letters, target.name, unit=" letters", disable=None):
            table.writerow((letter.filename, *letter[2:]))
            _add(tar, letter.filename, io.BytesIO(letter.png))
        lines.flush()
        _add(tar, "manifest.csv", manifest)


def _add(tar: tarfile.TarFile, name: str, content: BinaryIO) -> None:
    info = tarfile.TarInfo(name)
    info.size = content.seek(0, io.SEEK_END)
    content.seek(0)
    tar.addfile(info, content)
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep half a kilobyte for each


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    seen, unseen = split_families(config.unseen_families)
    with replacing(RAW) as folder:
        folder.mkdir()
        letters = draw_letters(config, seen, config.n_images_per_class)
        write_tarball(folder / "letters.tar", letters)
        letters = draw_letters(config, unseen, config.n_unseen_per_class, alternate_cases=True)
        write_tarball(folder / "unseen.tar", letters)
    print(f"{RAW}: letters of {len(seen)} typeface families, and of {len(unseen)} unseen ones")


if __name__ == "__main__":
    run(main)
