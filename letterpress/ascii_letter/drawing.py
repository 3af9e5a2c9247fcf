"""Draws the letters, and what is not a letter, into tar files of PNG images.

Same params, same bytes.
"""

import csv
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, cycle, repeat
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
from PIL import Image

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.none import NEW_KINDS, TRAINED_KINDS, Drawing, draw_none
from letterpress.ascii_letter.pen import draw_pen_letter, pen_typefaces
from letterpress.ascii_letter.typefaces import (
    Families,
    Typeface,
    check_typeface,
    draw_ink,
    draw_letter,
    find_typefaces,
    places,
)
from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing
from letterpress.jobs.map import map_jobs
from letterpress.jobs.processes import progress
from letterpress.jobs.shards import Job, shard_paths, share
from letterpress.records.example import digest

SETS = {"letters": "train", "validation": "validation", "unseen": "unseen"}
"""Folders of tar files, and the split of the families that they are drawn in."""

Drawings = Iterator[tuple[Image.Image, Typeface]]


class Letter(NamedTuple):
    """A drawn letter, or an image of none, and its row in the manifest."""

    filename: str
    """class/number.png"""
    png: bytes
    typeface: str
    family: str
    style: str
    """The family's style, "pen", or the kind of an image of none."""
    case: str
    """capital or small; for an image of none whether its kind is "trained" or "new"."""


def draw_set(
    config: AsciiLetterConfig, name: str, families: Families, shard: int = 0
) -> Iterator[Letter]:
    """Yields a shard's share of a set of SETS: letters in typefaces, letters of a pen, then none.

    No two images are the same, even in different shards.

    Raises:
        PipelineError: there are too few different drawings.
    """
    n_per_class = {
        "letters": config.n_images_per_class,
        "validation": config.n_validation_per_class,
        "unseen": config.n_unseen_per_class,
    }[name]
    prefix = "" if name == "letters" else f"{name}-"
    script_share = config.script_share if name == "letters" else None

    def in_typefaces(character: str, random: Random) -> Drawings:
        return _draw_in_typefaces(config, character, families, shard, script_share, random)

    def with_pen(character: str, random: Random) -> Drawings:
        return _draw_with_pen(config, character, families, random)

    n_pen = round(n_per_class * config.pen_share)
    # Both kinds together are shared evenly, as `split_files` expects.
    in_type, both = (share(n, shard, config.n_shards) for n in (n_per_class, n_per_class + n_pen))
    of_pen = range(both.start - in_type.start, both.stop - in_type.stop)
    yield from _draw_letters(config, shard, in_type, prefix, None, in_typefaces)
    yield from _draw_letters(config, shard, of_pen, f"{prefix}pen-", "pen", with_pen)
    if config.none_share:
        n_none = config.n_none((n_per_class + n_pen) * config.n_classes)
        kinds = TRAINED_KINDS + NEW_KINDS if name == "unseen" else TRAINED_KINDS
        # Not hash(), which differs from process to process.
        random = np.random.default_rng([config.data_seed, digest(prefix.encode()), shard])
        shape = config.image_height, config.image_width
        images = _different(draw_none(families, kinds, shape, random, shard, config.n_shards))
        for number, drawing in zip(share(n_none, shard, config.n_shards), images, strict=False):
            typeface = drawing.typeface
            printed = (typeface.name, typeface.family) if typeface else ("none", "none")
            png = _encode(Image.fromarray(drawing.image))
            case = "new" if drawing.kind in NEW_KINDS else "trained"
            yield Letter(f"none/{prefix}{number:05d}.png", png, *printed, drawing.kind, case)


def _different(drawings: Iterable[Drawing]) -> Iterator[Drawing]:
    """Leaves out images that were drawn before."""
    seen: set[int] = set()
    for drawing in drawings:
        if (key := digest(drawing.image.tobytes())) not in seen:
            seen.add(key)
            yield drawing


def _draw_letters(
    config: AsciiLetterConfig,
    shard: int,
    numbers: range,
    prefix: str,
    style: str | None,
    draw: Callable[[str, Random], Drawings],
) -> Iterator[Letter]:
    """Draws letters in the order a, b, ..., z, a, b, ...: capitals and small letters alternate.

    `style` replaces that of the typefaces.
    """
    seen: set[int] = set()
    drawings = {
        # Of the methods of Random, only random() gives the same numbers in all versions of Python.
        character: zip(
            draw(character, Random(f"{config.data_seed}/{prefix}{character}/{shard}")),
            repeat("capital" if character.isupper() else "small"),
        )
        for name in config.class_names
        for character in (name, name.upper())
    }
    for number in numbers:
        for name in config.class_names:
            capitals, small = drawings[name.upper()], drawings[name]
            # If the shard has no more drawings of one case, it takes one of the other case.
            both = chain(small, capitals) if number % 2 else chain(capitals, small)
            new = (drawn for drawn in both if digest(drawn[0][0].tobytes()) not in seen)
            drawn = next(new, None)
            if drawn is None:
                raise PipelineError(
                    f"{config.section}: too few different drawings of the letter {name} "
                    f"(got {len(numbers)} per class, {config.n_shards} shards). Lower "
                    "n_images_per_class, n_unseen_per_class or n_shards, or raise off_center"
                )
            (image, typeface), case = drawn
            seen.add(digest(image.tobytes()))
            drawn_in = typeface.name, typeface.family, style or typeface.style
            yield Letter(f"{name}/{prefix}{number:05d}.png", _encode(image), *drawn_in, case)


def _draw_in_typefaces(
    config: AsciiLetterConfig,
    character: str,
    families: Families,
    shard: int,
    script_share: float | None,
    random: Random,
) -> Drawings:
    """Draws a character in each family in turn until no place is left.

    `script_share` of the images are in script families; None draws all families equally often.
    """
    if script_share is None:
        yield from _draw_in_turn(config, character, families, shard, random)
        return
    script = [family for family in families if family[0].style == "script"]
    others = [family for family in families if family[0].style != "script"]
    rare, common = (_draw_in_turn(config, character, f, shard, random) for f in (script, others))
    for number in count(1):
        # Evenly spread: with a share of 0.1, numbers 10, 20, 30 and so on.
        is_script = int(number * script_share) > int((number - 1) * script_share)
        drawing = next(chain(rare, common) if is_script else chain(common, rare), None)
        if drawing is None:
            return
        yield drawing


def _draw_in_turn(
    config: AsciiLetterConfig, character: str, families: Families, shard: int, random: Random
) -> Drawings:
    """Draws a character once in each family, in random order, then once more, and so on."""
    left = {
        typeface: _draw_in_places(config, character, typeface, shard, random)
        for typeface in chain(*families)
    }
    # Shuffled with random() only, see `_draw_letters`.
    queues = [cycle(sorted(family, key=lambda _: random.random())) for family in families]
    while left:
        for queue in sorted(queues, key=lambda _: random.random()):
            typeface = next(queue)
            image = next(left[typeface], None) if typeface in left else None
            if image is None:
                left.pop(typeface, None)
            else:
                yield image, typeface


def _draw_in_places(
    config: AsciiLetterConfig, character: str, typeface: Typeface, shard: int, random: Random
) -> Iterator[Image.Image]:
    """Draws a character of one typeface in each place that the shard has, in random order."""
    height, width = config.image_height, config.image_width
    ink = draw_ink(character, typeface, config.letter_size, (height, width))
    columns = places(width, ink.width, config.off_center)
    rows = places(height, ink.height, config.off_center)
    # Places are dealt to the shards by the ink: two typefaces may have the same ink.
    first = (shard - digest(ink.tobytes())) % config.n_shards
    left = list(range(first, len(columns) * len(rows), config.n_shards))
    while left:
        row, column = divmod(left.pop(int(random.random() * len(left))), len(columns))
        place = columns[column], rows[row]
        yield draw_letter(character, typeface, config.letter_size, (height, width), place)


def _draw_with_pen(
    config: AsciiLetterConfig, character: str, families: Families, random: Random
) -> Drawings:
    """Draws a character with a pen, endlessly: 3 of 4 times after a handwriting typeface."""
    shape = config.image_height, config.image_width
    handwriting, sans = pen_typefaces(families)
    generator = np.random.default_rng(int(random.random() * 2**53))
    for number in count():
        typefaces = sans if number % 4 == 3 else handwriting
        typeface = typefaces[int(random.random() * len(typefaces))]
        image = draw_pen_letter(character, typeface, shape, generator)
        yield Image.fromarray(image), typeface


def _encode(image: Image.Image) -> bytes:
    file = io.BytesIO()
    # Uncompressed: builds of zlib compress the same pixels to different bytes.
    image.save(file, "PNG", compress_level=0)
    return file.getvalue()


def write_tarball(target: Path, letters: Iterable[Letter], families: str) -> None:
    """Writes letters and their manifest to a tar file without compression, owners or times.

    `families` is the split of their typeface families.
    """
    manifest = io.StringIO()
    rows = csv.writer(manifest, lineterminator="\n")
    rows.writerow(("file", "typeface", "family", "style", "case", "families"))
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for letter in progress(letters, target.name, " letters"):
            rows.writerow((letter.filename, *letter[2:], families))
            _add_file(tar, letter.filename, letter.png)
        # Last, because the letters are streamed: no row is known before its letter is drawn.
        _add_file(tar, "manifest.csv", manifest.getvalue().encode())


def _add_file(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner 0, time 0, mode 0644
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every member


def draw_shard(
    config: AsciiLetterConfig,
    name: str,
    shard: int,
    inputs: tuple[Path, ...],
    outputs: tuple[Path, ...],
) -> None:
    """Writes one shard of a set: a job of `map_jobs`. The inputs are the font files of its split."""
    families = find_typefaces(inputs[0].parent, SETS[name])
    write_tarball(outputs[0], draw_set(config, name, families, shard), SETS[name])


def draw_tarballs(raw: Path, typefaces: Path, config: AsciiLetterConfig) -> None:
    """Writes a folder of n_shards tar files for each of SETS to `raw`.

    Raises:
        PipelineError: a font file is missing or unfit, or there are too few different drawings.
    """
    jobs = []
    with replacing(raw) as built:
        for name, split in SETS.items():
            faces = [*chain(*find_typefaces(typefaces, split))]
            # Here, not in `draw_shard`: once per font file, not once per shard.
            for typeface in faces:
                check_typeface(typeface)
            fonts = tuple(typeface.path for typeface in faces)
            (built / name).mkdir(parents=True)
            for shard, path in enumerate(shard_paths(built / name, ".tar", config.n_shards)):
                jobs.append(Job((config, name, shard), fonts, (path,)))
        list(map_jobs(draw_shard, jobs))
    n_letters = config.n_images_per_class, config.n_validation_per_class, config.n_unseen_per_class
    print(f"{raw}: {' + '.join(map(str, n_letters))} letters per class, and those of a pen")
