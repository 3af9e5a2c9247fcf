"""The typefaces, and the shape and place of a drawn letter."""

from collections import Counter
from itertools import product
from pathlib import Path

import matplotlib
import pytest

from letterpress.ascii_letter.typefaces import (
    Typeface,
    check_typeface,
    draw_ink,
    draw_letter,
    find_typefaces,
    list_files,
    places,
    read_families,
)
from letterpress.core.errors import PipelineError

STYLES = ("serif", "sans-serif", "monospace", "display", "handwriting", "script")
SHAPE = (32, 32)


@pytest.fixture
def faces(typefaces: Path) -> list[Typeface]:
    splits = (find_typefaces(typefaces, name) for name in ("train", "validation", "unseen"))
    return [face for families in splits for family in families for face in family]


def test_the_table_has_enough_families_of_each_style_in_each_split() -> None:
    families = read_families()
    counts = Counter((family.split, family.style) for family in families)
    assert min(counts[key] for key in product(("train", "validation", "unseen"), STYLES)) >= 2
    totals = Counter(family.split for family in families)
    assert (totals["train"] >= 60, totals["validation"] >= 15, totals["unseen"] >= 20) == (
        True,
    ) * 3
    assert len({family.package for family in families}) == len(families) == sum(counts.values())
    assert {family.license for family in families} <= {"OFL-1.1", "Apache-2.0", "UFL-1.0"}
    files = list_files()
    assert {file.package for file in files} == {family.package for family in families}
    assert len({file.sha256 for file in files}) == len({file.name for file in files}) == len(files)


def test_a_missing_file_is_reported(typefaces: Path, tmp_path: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"dejavu-.*ttf: no such file\. Run `dvc repro fetch_ty"
    ):
        find_typefaces(tmp_path, "train")


def test_files_that_cannot_teach_the_letters_are_refused(faces: list[Typeface]) -> None:
    for face in faces:
        check_typeface(face)
    symbols = Path(matplotlib.get_data_path(), "fonts/ttf/STIXSizOneSymReg.ttf")
    with pytest.raises(PipelineError, match=r"SymReg\.ttf: has no letter a\. Use another file"):
        check_typeface(faces[0]._replace(path=symbols))


def test_a_damaged_file_is_not_replaced_by_a_system_font(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: list[Typeface]
) -> None:
    good = faces[-1]
    system = tmp_path / "share" / "fonts"
    system.mkdir(parents=True)
    (system / "Damaged.ttf").write_bytes(good.path.read_bytes())
    monkeypatch.setenv("XDG_DATA_HOME", str(system.parent))
    damaged = tmp_path / "Damaged.ttf"
    damaged.write_bytes(b"not a font")
    with pytest.raises(OSError):
        draw_letter("a", good._replace(path=damaged), 28, SHAPE)


def test_the_longer_side_of_a_letter_is_as_asked_for(faces: list[Typeface]) -> None:
    for face, letter in product(faces, "HxWlg"):
        assert max(draw_ink(letter, face, 22, (64, 64)).size) in (21, 22, 23, 24)


def test_a_letter_that_is_too_large_shrinks_and_keeps_its_aspect_ratio(
    faces: list[Typeface],
) -> None:
    for face, letter in product(faces, "IMjt"):
        large = draw_ink(letter, face, 400, (2000, 2000))
        ratio = large.width / large.height
        for size, (height, width) in ((100, (96, 192)), (100, (192, 96)), (32, (8, 8))):
            ink = draw_ink(letter, face, size, (height, width))
            case = (face.name, letter, ink.size)
            assert ink.height <= height - 2 and ink.width <= width - 2, case
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
