"""Which drawings two classes share."""

from __future__ import annotations

import string

import numpy as np
import pytest
from PIL import Image

from stages.ascii_letter.glyphs import Typeface, draw_letter, find_typefaces
from stages.mistakes.sharing import SAME, Library, crop_to_ink

TYPEFACES = {face.name: face for family in find_typefaces() for face in family}
MANROPE = TYPEFACES["Manrope-Bold"]  # whose capital I is its small l
SERIF = TYPEFACES["DejaVuSerif-Bold"]
SIZE, SHAPE = 28, (32, 32)


def draw(letter: str, typeface: Typeface, place: tuple[int, int] | None = None) -> Image.Image:
    return draw_letter(letter, typeface, SIZE, SHAPE, place)


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(string.ascii_lowercase, [MANROPE, SERIF], SIZE, SHAPE)


def test_a_capital_i_and_a_small_l_of_one_drawing_are_shared(library: Library) -> None:
    assert draw("I", MANROPE).tobytes() == draw("l", MANROPE).tobytes()
    for letter in "Il":
        assert library.classes_like(draw(letter, MANROPE)) == {"i", "l"}


def test_they_are_shared_wherever_they_stand(library: Library) -> None:
    for place in ((0, 0), (3, 11), (20, 1)):
        assert library.classes_like(draw("I", MANROPE, place)) == {"i", "l"}


def test_no_other_letter_is_shared(library: Library) -> None:
    for letter in set(string.ascii_letters) - {"I", "l"}:
        assert library.classes_like(draw(letter, MANROPE)) == {letter.lower()}
    for letter in string.ascii_letters:  # the serifs tell an I from an l
        assert library.classes_like(draw(letter, SERIF)) == {letter.lower()}


def test_both_cases_of_a_letter_are_one_class() -> None:
    face = TYPEFACES["Manrope-Bold"]
    assert Library(string.ascii_lowercase, [face], SIZE, SHAPE).classes_like(draw("O", face)) == {
        "o"
    }


def test_a_drawing_of_another_typeface_is_found_too() -> None:
    """What a letter looks like counts, not which typeface it is of."""
    library = Library(string.ascii_lowercase, [SERIF], SIZE, SHAPE)
    assert library.classes_like(draw("A", MANROPE)) == set()
    assert Library(string.ascii_lowercase, [SERIF, MANROPE], SIZE, SHAPE).classes_like(
        draw("A", MANROPE)
    ) == {"a"}


@pytest.mark.parametrize(("share", "found"), [(SAME * 0.8, {"h"}), (SAME * 1.2, set())])
def test_drawings_that_differ_by_less_than_a_share_of_their_ink_are_the_same(
    library: Library, share: float, found: set[str]
) -> None:
    pixels = np.asarray(draw("h", SERIF)).astype(np.int64)
    to_lose = round(share * pixels.sum())
    inner = np.argwhere(pixels == 255)
    for y, x in inner:  # takes ink away, a pixel at a time, without a change of its box
        lost = min(to_lose, 254)
        pixels[y, x] -= lost
        to_lose -= lost
    assert to_lose == 0
    changed = Image.fromarray(pixels.astype(np.uint8))
    assert changed.getbbox() == draw("h", SERIF).getbbox()
    assert library.classes_like(changed) == found


def test_only_drawings_of_the_classes_count() -> None:
    library = Library("abcdefghi", [MANROPE], SIZE, SHAPE)
    for letter in "Il":
        assert library.classes_like(draw(letter, MANROPE)) == {"i"}


def test_an_image_without_ink_is_like_none(library: Library) -> None:
    assert library.classes_like(Image.new("L", (32, 32))) == set()


def test_a_drawing_is_cut_to_the_box_around_its_ink() -> None:
    image = Image.new("L", (10, 8))
    image.paste(200, (2, 3, 7, 5))
    image.putpixel((4, 3), 7)
    ink = crop_to_ink(image)
    assert ink.shape == (2, 5)
    assert ink.dtype == np.float32
    assert ink.sum() == 200 * 9 + 7
