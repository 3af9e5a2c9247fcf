"""Stage build_ascii_tarball: letters drawn in many typefaces.

The letters are for training and test, the unseen letters have typefaces that neither has. Same params,
same bytes, on any machine: each character of each shard has a random generator of its own.
"""

from __future__ import annotations

import csv
import io
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.formats import add_member, encode_png, end_tar
from stages.ascii_letter.glyphs import Typeface, draw_ink, place_ink, places, split_families
from stages.mnist.digests import DigestSet, digest
from stages.mnist.engine import Job, map_jobs
from stages.mnist.errors import PipelineError, run
from stages.mnist.files import replacing
from stages.mnist.processes import HIDDEN
from stages.mnist.shards import shard_paths, share

RAW = Path("data/ascii_letter/raw")
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
    shard: int = 0,
) -> Iterator[Letter]:
    """Yields a shard's share of n_per_class letters of each class, the classes in turn.

    Capitals and small letters alternate. No two images are the same, in no two shards either: each
    shard has places of its own for each drawing.

    Args:
        config: class_names, seed, n_shards, letter_size, off_center and the size of the images.
        families: the typefaces to draw from.
        n_per_class: letters of each class in all shards.
        shard: 0 .. n_shards - 1.

    Raises:
        PipelineError: there are not so many different drawings.
    """
    seen = DigestSet()
    drawings = {
        (name, case): _draw_endlessly(config, name, case, families, shard)
        for name in config.class_names
        for case in CASES
    }
    for number in share(n_per_class, shard, config.n_shards):
        for name in config.class_names:
            # Where the shard has no more capitals of a letter it takes a small one, and the reverse.
            cases = CASES[number % 2], CASES[1 - number % 2]
            candidates = chain.from_iterable(drawings[name, case] for case in cases)
            drawing = next((one for one in candidates if seen.add(one[2])), None)
            if drawing is None:
                raise PipelineError(
                    f"there are not enough different drawings of the letter {name}, the params ask for "
                    f"{n_per_class} in {config.n_shards} shards: lower "
                    f"{config.section}.n_images_per_class or n_unseen_per_class, or n_shards"
                )
            typeface, case, png = drawing
            filename = f"{name}/{number:05d}.png"
            yield Letter(filename, png, typeface.name, typeface.family, typeface.style, case)


def _draw_endlessly(
    config: AsciiLetterConfig,
    name: str,
    case: str,
    families: Sequence[Sequence[Typeface]],
    shard: int,
) -> Iterator[tuple[Typeface, str, bytes]]:
    """Draws a letter as PNG in every typeface, again and again at another place, until none is left.

    The order of the typefaces is random, but a file of each family comes before another of any. Only
    random() is promised to give the same numbers in every version of Python.
    """
    character = name.upper() if case == "capital" else name
    shape = config.image_height, config.image_width
    random = Random(f"{config.seed}/{character}/{shard}").random
    undrawn: dict[Typeface, _Undrawn] = {}
    while True:
        ranked = [
            (rank, random(), typeface)
            for family in families
            for rank, typeface in enumerate(sorted(family, key=lambda _: random()))
        ]
        for _, _, typeface in sorted(ranked):
            if typeface not in undrawn:
                undrawn[typeface] = _all_undrawn(config, character, typeface, shard)
            ink, columns, rows, left = undrawn[typeface]
            if left:
                row, column = divmod(left.pop(int(random() * len(left))), len(columns))
                image = place_ink(ink, shape, (columns[column], rows[row]))
                yield typeface, case, encode_png(image)
        if not any(left for _, _, _, left in undrawn.values()):
            return


class _Undrawn(NamedTuple):
    """A character of a typeface, and where its shard has yet to draw it."""

    ink: Image.Image
    columns: range
    rows: range
    left: array[int]
    """row * len(columns) + column of each place that is left"""


def _all_undrawn(
    config: AsciiLetterConfig, character: str, typeface: Typeface, shard: int
) -> _Undrawn:
    shape = config.image_height, config.image_width
    ink = draw_ink(character, typeface, config.letter_size, shape)
    columns = places(config.image_width, ink.width, config.off_center)
    rows = places(config.image_height, ink.height, config.off_center)
    # By what the ink looks like: the same ink in another typeface has the same places.
    first = (shard - digest(ink.tobytes())) % config.n_shards
    left = array("L", range(first, len(columns) * len(rows), config.n_shards))
    return _Undrawn(ink, columns, rows, left)


def write_tarball(target: Path, letters: Iterable[Letter]) -> None:
    """Writes letters and their manifest to a tar file without owners and times.

    It is not compressed: zlib and its replacements give different bytes for the same content.
    """
    with tempfile.TemporaryFile() as manifest, target.open("wb") as tar:
        lines = io.TextIOWrapper(manifest, "utf-8", newline="")
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("file", "typeface", "family", "style", "case"))
        for letter in tqdm(letters, target.name, unit=" letters", disable=HIDDEN):
            table.writerow((letter.filename, *letter[2:]))
            add_member(tar, letter.filename, io.BytesIO(letter.png))
        lines.flush()
        add_member(tar, "manifest.csv", manifest)
        end_tar(tar)


def draw_shard(
    config: AsciiLetterConfig, shard: int, inputs: tuple[Path, ...], outputs: tuple[Path, ...]
) -> None:
    """Writes a shard of the letters and one of the unseen letters; see `engine.py`."""
    seen, unseen = split_families(config.unseen_families)
    letters, unseen_letters = outputs
    write_tarball(letters, draw_letters(config, seen, config.n_images_per_class, shard))
    write_tarball(unseen_letters, draw_letters(config, unseen, config.n_unseen_per_class, shard))


def main() -> None:
    config = AsciiLetterConfig.from_yaml()
    seen, unseen = split_families(config.unseen_families)
    with replacing(RAW) as built:
        folders = built / "letters", built / "unseen"
        for folder in folders:
            folder.mkdir(parents=True)
        outputs = zip(*(shard_paths(f, ".tar", config.n_shards) for f in folders), strict=True)
        jobs = [Job((config, shard), (), paths) for shard, paths in enumerate(outputs)]
        for _ in map_jobs(draw_shard, jobs):
            pass
    print(f"{RAW}: letters of {len(seen)} typeface families, and of {len(unseen)} unseen ones")


if __name__ == "__main__":
    run(main)
