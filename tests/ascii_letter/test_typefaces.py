"""The typefaces, and the shape and place of a drawn letter."""

import importlib.metadata
import re
import string
from itertools import chain, product
from pathlib import Path

import pytest
from PIL import Image, ImageFont

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.typefaces import (
    Typeface,
    draw_ink,
    draw_letter,
    find_typefaces,
    places,
    split_families,
)
from letterpress.core.errors import PipelineError
from tests.conftest import ROOT

FAMILIES = find_typefaces()
TYPEFACES = [face for family in FAMILIES for face in family]
UNSEEN = AsciiLetterConfig().unseen_families
SHAPE = (32, 32)


def ink_box(image: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of all pixels that are not black."""
    return image.getbbox() or (0, 0, 0, 0)


def rasterize(letter: str, typeface: Typeface, size: int) -> Image.Image:
    """The letter as FreeType draws it, cropped to its ink."""
    font = ImageFont.truetype(typeface.path, size, layout_engine=ImageFont.Layout.BASIC)
    mask = font.getmask(letter)
    image = Image.frombytes("L", mask.size, bytes(mask))
    return image.crop(ink_box(image))


def test_typefaces_are_files_of_pinned_packages_in_sorted_families() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pinned = dict(re.findall(r'"([\w-]+)==([\w.]+)"', text))
    assert {package: importlib.metadata.version(package) for package in pinned} == pinned
    files = {
        Path(str(file.locate())).resolve()
        for package in pinned
        for file in importlib.metadata.files(package) or []
    }
    assert [face.path for face in TYPEFACES if face.path.resolve() not in files] == []
    assert len({face.name for face in TYPEFACES}) == len(TYPEFACES) > 90
    for family in FAMILIES:
        assert len({(face.family, face.style) for face in family}) == 1
        assert list(family) == sorted(family, key=lambda face: face.path.name)


@pytest.mark.parametrize("package", ["no_such_package", "matplotlib"])
def test_a_typeface_that_is_not_installed_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str
) -> None:
    table = tmp_path / "typefaces.csv"
    table.write_text(f"family,style,package,pattern\nXyz,serif,{package},Xyz\\.ttf\n")
    monkeypatch.setattr("letterpress.ascii_letter.typefaces._FAMILIES", table)
    with pytest.raises(PipelineError, match=f"typeface Xyz: no file .* {package}. Run `make"):
        find_typefaces.__wrapped__()


def test_a_damaged_file_is_not_replaced_by_a_system_font(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = FAMILIES[-1][0]
    system = tmp_path / "share" / "fonts"
    system.mkdir(parents=True)
    (system / "Damaged.ttf").write_bytes(good.path.read_bytes())
    monkeypatch.setenv("XDG_DATA_HOME", str(system.parent))
    damaged = tmp_path / "Damaged.ttf"
    damaged.write_bytes(b"not a font")
    with pytest.raises(OSError):
        draw_letter("a", good._replace(path=damaged), 28, SHAPE)


def test_families_are_split_whole_and_keep_their_order() -> None:
    seen, unseen = split_families(UNSEEN)
    assert seen == [faces for faces in FAMILIES if faces[0].family not in UNSEEN]
    assert unseen == [faces for faces in FAMILIES if faces[0].family in UNSEEN]
    assert split_families([*UNSEEN[::-1], *UNSEEN]) == (seen, unseen)
    files = [{face.path.read_bytes() for face in chain(*side)} for side in (seen, unseen)]
    assert not files[0] & files[1]  # nor the same file under another name
    assert len(files[0]) + len(files[1]) == len(TYPEFACES)


def test_families_that_cannot_be_compared_are_refused() -> None:
    for unseen, problem in (
        (
            [*UNSEEN, "Lato-Bold"],
            r"unknown typeface family \(got Lato-Bold\)\. Choose from Caladea",
        ),
        ([], r"on one side \(got cursive, display, monospace, sans-serif, serif\)"),
        (UNSEEN[1:], r"on one side \(got serif\)"),
        ([*UNSEEN, "DejaVu Sans Mono"], r"on one side \(got monospace\)"),  # none is seen
    ):
        with pytest.raises(PipelineError, match=f"^unseen_families: .*{problem}.*$"):
            split_families(unseen)


def test_every_typeface_draws_every_letter_whole_and_centered() -> None:
    for face in TYPEFACES:
        missing = draw_letter("\uf8f0", face, 22, SHAPE).tobytes()
        drawn = {letter: draw_letter(letter, face, 22, SHAPE) for letter in string.ascii_letters}
        for letter, image in drawn.items():
            left, top, right, bottom = box = ink_box(image)
            ink, itself = image.crop(box), rasterize(letter, face, 22)
            assert (image.mode, image.size) == ("L", (32, 32)), (face, letter)
            assert (ink.size, ink.tobytes()) == (itself.size, itself.tobytes()), (face, letter)
            assert min(left, top, 32 - right, 32 - bottom) >= 1, (face, letter)
            assert max(abs(left + right - 32), abs(top + bottom - 32)) <= 2, (face, letter)
            assert max(image.tobytes()) >= 48, (face, letter)
            assert image.tobytes() != missing, (face, letter)
        assert len({drawn[letter].tobytes() for letter in string.ascii_lowercase}) == 26, face


def test_a_letter_too_large_shrinks_only_as_needed_and_keeps_its_aspect_ratio() -> None:
    for family, letter in product(FAMILIES, "IMjt"):
        outline = rasterize(letter, family[0], 1000)
        ratio = outline.width / outline.height
        for size, (height, width) in ((130, (96, 192)), (130, (192, 96)), (32, (8, 8))):
            ink = draw_ink(letter, family[0], size, (height, width))
            full = rasterize(letter, family[0], size)
            case = (family[0].name, letter, ink.size)
            assert ink.height <= height - 2 and ink.width <= width - 2, case
            if full.height <= height - 2 and full.width <= width - 2:
                assert ink.size == full.size, case
            else:
                assert ink.height >= height - 5 or ink.width >= width - 5, case
            # The rasterizer may add or remove a pixel at each border.
            assert abs(ink.width - ink.height * ratio) <= 1.5 * (1 + ratio), case


def test_places_are_all_offsets_that_are_inside_and_near_enough_to_the_center() -> None:
    off_centers = (0, 0.2, 0.5, 1, 1.5, 2.0, 3.7, 16)
    for available, needed, off_center in product((8, 9, 32), range(1, 33), off_centers):
        inside = range(available - needed + 1)
        center = (available - needed) / 2  # may be half a pixel
        found = list(places(available, needed, off_center))
        near = [place for place in inside if abs(place - center) <= off_center]
        if near:
            assert found == near
        elif inside:
            assert len(found) == 1 and found[0] in inside and abs(found[0] - center) == 0.5
    assert [list(places(32, needed, 0)) for needed in (1, 2, 31, 32)] == [[16], [15], [1], [0]]
