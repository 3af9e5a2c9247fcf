"""Draws letters in many typefaces, into tar files of PNG images. Same params, same bytes."""

import csv
import io
import tarfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from letterpress.ascii_letter import typefaces
from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.typefaces import Families, Typeface, split_families
from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing
from letterpress.jobs.map import map_jobs
from letterpress.jobs.processes import HIDDEN
from letterpress.jobs.shards import Job, shard_paths, share
from letterpress.records.example import digest


class Letter(NamedTuple):
    """A drawn letter and its row in the manifest."""

    filename: str
    """class/number.png"""
    png: bytes
    typeface: str
    family: str
    style: str
    case: str
    """capital or small"""


def draw_letters(
    config: AsciiLetterConfig, families: Families, n_per_class: int, shard: int = 0
) -> Iterator[Letter]:
    """Yields a shard's share of n_per_class letters per class, in the order a, b, ..., z, a, b, ...

    Capitals and small letters alternate. No two images are the same, even in different shards.

    Raises:
        PipelineError: there are too few different drawings.
    """
    seen: set[int] = set()
    drawings = {
        character: _draw_character(config, character, families, shard, seen)
        for name in config.class_names
        for character in (name, name.upper())
    }
    for number in share(n_per_class, shard, config.n_shards):
        for name in config.class_names:
            capitals, small = drawings[name.upper()], drawings[name]
            # If the shard has no more drawings of one case, it takes one of the other case.
            drawing = next(chain(small, capitals) if number % 2 else chain(capitals, small), None)
            if drawing is None:
                raise PipelineError(
                    f"{config.section}: too few different drawings of the letter {name} "
                    f"(got {n_per_class} letters per class, {config.n_shards} shards). Lower "
                    "n_images_per_class, n_unseen_per_class or n_shards, or raise off_center"
                )
            yield Letter(f"{name}/{number:05d}.png", *drawing)


def _draw_character(
    config: AsciiLetterConfig, character: str, families: Families, shard: int, seen: set[int]
) -> Iterator[tuple[bytes, str, str, str, str]]:
    """Draws a character in each typeface, then again in other places until no place is left.

    Yields the fields of a Letter after its filename. Skips images with a digest in `seen`.
    """
    # Of the methods of Random, only random() gives the same numbers in all versions of Python.
    random = Random(f"{config.seed}/{character}/{shard}")
    images = {
        typeface: _draw_in_places(config, character, typeface, shard, random)
        for typeface in chain(*families)
    }
    case = "capital" if character.isupper() else "small"
    while images:
        for typeface in _shuffled(families, random):
            image = next(images[typeface], None) if typeface in images else None
            if image is None:
                images.pop(typeface, None)
            elif (value := digest(image.tobytes())) not in seen:
                seen.add(value)
                yield _encode(image), typeface.name, typeface.family, typeface.style, case


def _draw_in_places(
    config: AsciiLetterConfig, character: str, typeface: Typeface, shard: int, random: Random
) -> Iterator[Image.Image]:
    """Draws a character of one typeface in each place that the shard has, in random order."""
    shape = config.image_height, config.image_width
    ink = typefaces.draw_ink(character, typeface, config.letter_size, shape)
    columns = typefaces.places(config.image_width, ink.width, config.off_center)
    rows = typefaces.places(config.image_height, ink.height, config.off_center)
    # Places are dealt to the shards by the ink: two typefaces may have the same ink.
    first = (shard - digest(ink.tobytes())) % config.n_shards
    left = list(range(first, len(columns) * len(rows), config.n_shards))
    while left:
        row, column = divmod(left.pop(int(random.random() * len(left))), len(columns))
        place = columns[column], rows[row]
        yield typefaces.draw_letter(character, typeface, config.letter_size, shape, place)


def _shuffled(families: Families, random: Random) -> list[Typeface]:
    """Shuffles typefaces: first one file of each family, then a second of each, and so on."""
    ranked = [
        (rank, random.random(), typeface)
        for family in families
        for rank, typeface in enumerate(sorted(family, key=lambda _: random.random()))
    ]
    return [typeface for _, _, typeface in sorted(ranked)]


def _encode(image: Image.Image) -> bytes:
    file = io.BytesIO()
    # Uncompressed: builds of zlib compress the same pixels to different bytes.
    image.save(file, "PNG", compress_level=0)
    return file.getvalue()


def write_tarball(target: Path, letters: Iterable[Letter]) -> None:
    """Writes letters and their manifest to a tar file without compression, owners or times."""
    manifest = io.StringIO()
    rows = csv.writer(manifest, lineterminator="\n")
    rows.writerow(("file", "typeface", "family", "style", "case"))
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for letter in tqdm(letters, target.name, unit=" letters", disable=HIDDEN):
            rows.writerow((letter.filename, *letter[2:]))
            _add_file(tar, letter.filename, letter.png)
        _add_file(tar, "manifest.csv", manifest.getvalue().encode())


def _add_file(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner 0, time 0, mode 0644
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every member


def draw_shard(
    config: AsciiLetterConfig, shard: int, inputs: tuple[Path, ...], outputs: tuple[Path, ...]
) -> None:
    """Writes one shard of the letters and one of the unseen letters: a job of `map_jobs`."""
    seen, unseen = split_families(config.unseen_families)
    letters, unseen_letters = outputs
    write_tarball(letters, draw_letters(config, seen, config.n_images_per_class, shard))
    write_tarball(unseen_letters, draw_letters(config, unseen, config.n_unseen_per_class, shard))


def draw_tarballs(raw: Path, config: AsciiLetterConfig) -> None:
    """Writes raw/letters (seen families) and raw/unseen (the others), n_shards tar files each."""
    with replacing(raw) as built:
        folders = built / "letters", built / "unseen"
        for folder in folders:
            folder.mkdir(parents=True)
        outputs = zip(*(shard_paths(f, ".tar", config.n_shards) for f in folders), strict=True)
        jobs = [Job((config, shard), (), paths) for shard, paths in enumerate(outputs)]
        list(map_jobs(draw_shard, jobs))
    print(f"{raw}: {config.n_images_per_class} + {config.n_unseen_per_class} letters per class")
