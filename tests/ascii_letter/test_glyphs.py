"""The typefaces, and how a letter of one is drawn."""

from __future__ import annotations

import importlib.metadata
import re
import string
from pathlib import Path

import pytest
from PIL import Image, ImageFont

from stages.ascii_letter import glyphs
from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import (
    Typeface,
    draw_ink,
    draw_letter,
    find_typefaces,
    places,
    split_families,
)
from stages.mnist.errors import PipelineError
from tests.conftest import ROOT

FAMILIES = find_typefaces()
TYPEFACES = [face for family in FAMILIES for face in family]
SHAPE = (32, 32)
LETTER_SIZE = 28

each_typeface = pytest.mark.parametrize("typeface", TYPEFACES, ids=lambda face: face.name)
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family[0].family)


def pinned_packages() -> dict[str, str]:
    """The packages of which pyproject.toml admits one version: what draws the letters."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return dict(re.findall(r'"([\w-]+)==([\w.]+)"', text))


def ink_box(image: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of all that is not black."""
    box = image.getbbox()
    assert box is not None, "there is no ink"
    return box


def ink_size(image: Image.Image) -> tuple[int, int]:
    left, top, right, bottom = ink_box(image)
    return right - left, bottom - top


def letter_by_itself(letter: str, typeface: Typeface, size: int) -> Image.Image:
    """The letter as FreeType gives it, its ink and nothing around it."""
    font = ImageFont.truetype(typeface.path, size, layout_engine=ImageFont.Layout.BASIC)
    mask = font.getmask(letter)
    image = Image.frombytes("L", mask.size, bytes(mask))
    return image.crop(ink_box(image))


@pytest.mark.parametrize(("package", "version"), pinned_packages().items())
def test_what_draws_the_letters_is_installed_in_the_version_that_is_pinned(
    package: str, version: str
) -> None:
    assert importlib.metadata.version(package) == version


def test_the_typefaces_are_files_of_the_pinned_packages() -> None:
    files = {
        Path(str(file.locate())).resolve()
        for package in pinned_packages()
        for file in importlib.metadata.files(package) or []
    }
    assert len(files) > len(TYPEFACES)
    assert [face.path for face in TYPEFACES if face.path.resolve() not in files] == []


def test_a_damaged_file_is_not_replaced_by_the_systems_typeface_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "share"
    (system / "fonts").mkdir(parents=True)
    good = FAMILIES[-1][0]
    (system / "fonts" / "Damaged.ttf").write_bytes(good.path.read_bytes())
    monkeypatch.setenv("XDG_DATA_HOME", str(system))
    damaged = tmp_path / "Damaged.ttf"
    damaged.write_bytes(b"not a font")
    with pytest.raises((OSError, PipelineError)):
        draw_letter("a", good._replace(path=damaged), LETTER_SIZE, SHAPE)


def test_there_are_serifs_and_all_other_styles() -> None:
    styles = {face.style for face in TYPEFACES}
    assert styles == {"serif", "sans-serif", "monospace", "cursive", "display"}


def test_there_are_over_90_typefaces_each_with_a_name_of_its_own() -> None:
    assert len({face.name for face in TYPEFACES}) == len(TYPEFACES) > 90


@each_family
def test_a_family_has_one_name_and_one_style_and_is_sorted(family: tuple[Typeface, ...]) -> None:
    assert len({(face.family, face.style) for face in family}) == 1
    assert list(family) == sorted(family, key=lambda face: face.path.name)


STYLES = {"serif", "sans-serif", "monospace", "cursive", "display"}
UNSEEN = AsciiLetterConfig.from_yaml(ROOT / "params.yaml").unseen_families


def test_no_family_and_no_file_is_on_both_sides() -> None:
    seen, unseen = split_families(UNSEEN)
    assert {faces[0].family for faces in unseen} == set(UNSEEN)
    assert not {f.family for faces in seen for f in faces} & set(UNSEEN)
    files = [{f.path.read_bytes() for faces in side for f in faces} for side in (seen, unseen)]
    assert not files[0] & files[1]  # nor under another name
    assert len(files[0]) + len(files[1]) == len(TYPEFACES)


def test_all_five_styles_are_on_both_sides() -> None:
    for side in split_families(UNSEEN):
        assert {face.style for faces in side for face in faces} == STYLES


@pytest.mark.parametrize("unseen", [UNSEEN, UNSEEN[::-1], set(UNSEEN), UNSEEN + UNSEEN])
def test_families_are_kept_out_whole_and_in_their_order_however_they_are_named(
    unseen: list[str] | set[str],
) -> None:
    sides = split_families(unseen)
    assert sides == (
        [faces for faces in FAMILIES if faces[0].family not in UNSEEN],
        [faces for faces in FAMILIES if faces[0].family in UNSEEN],
    )


@pytest.mark.parametrize(
    ("unseen", "message"),
    [
        ([*UNSEEN, "Comic Sans"], "no family Comic Sans; there are Caladea, "),
        ([*UNSEEN[:-1], UNSEEN[-1].lower()], f"no family {UNSEEN[-1].lower()}; "),
        ([*UNSEEN, "Lato-Bold"], "no family Lato-Bold; "),  # a file is no family
        ([], "cursive, display, monospace, sans-serif, serif must be among the seen and the "),
        (UNSEEN[1:], "serif must be among the seen and the unseen families"),
        # All of a style on the other side is as wrong.
        ([*UNSEEN, "DejaVu Sans Mono"], "monospace must be among the seen and the unseen "),
    ],
)
def test_sides_that_cannot_be_compared_are_refused(unseen: list[str], message: str) -> None:
    with pytest.raises(PipelineError, match=re.escape(f"unseen_families: {message}")) as refused:
        split_families(unseen)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("package", "folder", "pattern", "message"),
    [
        ("no_such_package", "files", ".+", "no_such_package with the typeface X is not installed"),
        ("matplotlib", "mpl-data/fonts/ttf", "X", "matplotlib has no file of the typeface X"),
        ("matplotlib", "no-such-folder", ".+", "matplotlib has no file of the typeface X"),
    ],
)
def test_a_typeface_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, folder: str, pattern: str, message: str
) -> None:
    monkeypatch.setattr(glyphs, "_FAMILIES", (("X", "serif", package, folder, pattern),))
    with pytest.raises(PipelineError, match=message):
        find_typefaces.__wrapped__()


@each_typeface
def test_a_typeface_draws_each_letter_inside_the_image(typeface: Typeface) -> None:
    not_a_letter = draw_letter("\uf8f0", typeface, 24, SHAPE).tobytes()
    drawn = {letter: draw_letter(letter, typeface, 24, SHAPE) for letter in string.ascii_letters}
    for letter, image in drawn.items():
        assert (image.mode, image.size) == ("L", (32, 32)), letter
        left, top, right, bottom = ink_box(image)
        assert 1 <= left < right <= 31, letter
        assert 1 <= top < bottom <= 31, letter
        assert max(image.tobytes()) >= 64, f"{letter} is faint"
        assert image.tobytes() != not_a_letter, f"{letter} is missing in the typeface"
    small = [drawn[letter].tobytes() for letter in string.ascii_lowercase]
    assert len(set(small)) == 26


@each_typeface
def test_a_letter_keeps_all_its_ink_to_the_bit(typeface: Typeface) -> None:
    """At whole pixels: nothing is cut off, and nothing is smeared over two pixels."""
    changed = []
    for letter in string.ascii_letters:
        itself = letter_by_itself(letter, typeface, 20)
        assert max(itself.size) <= 30, letter  # it fits, so it is not made smaller
        corner = 32 - itself.width, 32 - itself.height
        for place in (None, (0, 0), (1, 0), corner):
            image = draw_letter(letter, typeface, 20, SHAPE, place)
            ink = image.crop(ink_box(image))
            if (ink.size, ink.tobytes()) != (itself.size, itself.tobytes()):
                changed.append((letter, place))
    assert changed == []


@each_typeface
def test_a_letters_ink_is_what_stands_in_the_image(typeface: Typeface) -> None:
    for letter in "ITgjW":
        for size, shape in ((20, SHAPE), (60, SHAPE), (60, (20, 40))):
            image, ink = (
                draw_letter(letter, typeface, size, shape),
                draw_ink(letter, typeface, size, shape),
            )
            found = image.crop(ink_box(image))
            assert (ink.mode, ink.size, ink.tobytes()) == ("L", found.size, found.tobytes()), letter
            assert ink.height <= shape[0] - 2 and ink.width <= shape[1] - 2, letter


@pytest.mark.parametrize("place", [(0, 0), (3, 7), (9, 1)])
@each_family
def test_a_letter_stands_where_it_is_told(
    family: tuple[Typeface, ...], place: tuple[int, int]
) -> None:
    for letter in "ITgj":
        ink = draw_ink(letter, family[0], 16, SHAPE)
        box = ink_box(draw_letter(letter, family[0], 16, SHAPE, place))
        assert box == (*place, place[0] + ink.width, place[1] + ink.height), letter


@pytest.mark.parametrize("off_center", [0, 0.2, 0.5, 1, 1.5, 2.0, 3.7, 16])
@pytest.mark.parametrize("available", [8, 9, 32])
def test_the_places_are_all_that_are_inside_and_near_enough_to_the_centre(
    available: int, off_center: float
) -> None:
    for needed in range(1, available + 1):
        center = (available - needed) / 2  # between two pixels for every other one
        inside = range(available - needed + 1)
        near = [place for place in inside if abs(place - center) <= off_center]
        found = list(places(available, needed, off_center))
        if near:
            assert found == near
        else:  # the nearest are half a pixel off, one of them will do
            assert len(found) == 1 and found[0] in inside and abs(found[0] - center) == 0.5


def test_a_letter_that_may_not_be_off_the_centre_has_one_place() -> None:
    assert [list(places(32, needed, 0)) for needed in (1, 2, 31, 32)] == [[16], [15], [1], [0]]


@each_typeface
def test_a_letter_stands_in_the_centre_unless_told(typeface: Typeface) -> None:
    off = {}
    for letter in string.ascii_letters:
        left, top, right, bottom = ink_box(draw_letter(letter, typeface, 24, SHAPE))
        right_by, down_by = (left + right - 32) / 2, (top + bottom - 32) / 2
        if max(abs(right_by), abs(down_by)) > 1:
            off[letter] = (right_by, down_by)
    assert off == {}


@pytest.mark.parametrize(
    ("size", "shape"),
    [(90, (128, 128)), (130, (96, 192)), (130, (192, 96))],
    ids=["as told", "shrunk to the height", "shrunk to the width"],
)
@each_family
def test_a_letter_keeps_its_aspect_ratio(
    family: tuple[Typeface, ...], size: int, shape: tuple[int, int]
) -> None:
    height, width = shape
    for letter in "IMjt":
        outline = letter_by_itself(letter, family[0], 1000)
        ratio = outline.width / outline.height
        left, top, right, bottom = ink_box(draw_letter(letter, family[0], size, shape))
        # A pixel more or less at each border is the rasteriser's.
        assert abs((right - left) - (bottom - top) * ratio) <= 1.5 * (1 + ratio), letter
        assert left > 0 < top and right < width and bottom < height, letter


@each_family
def test_a_letter_has_the_size_told_where_it_fits(family: tuple[Typeface, ...]) -> None:
    for size in (8, 16, 24):
        itself = letter_by_itself("H", family[0], size)
        image = draw_letter("H", family[0], size, SHAPE)
        assert ink_size(image) == pytest.approx(itself.size, abs=1), size


@each_family
def test_a_letter_too_large_shrinks_only_as_far_as_needed(family: tuple[Typeface, ...]) -> None:
    width, height = ink_size(draw_letter("W", family[0], 60, SHAPE))
    assert max(width, height) in (28, 29, 30)


@each_family
def test_the_smallest_image_still_holds_a_letter(family: tuple[Typeface, ...]) -> None:
    image = draw_letter("W", family[0], 32, (8, 8))
    assert image.size == (8, 8)
    assert min(ink_size(image)) > 1
