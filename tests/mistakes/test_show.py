"""Showing the mistakes: tables, a sheet and the ceiling, of letters whose mistakes are known."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image, ImageDraw

from stages.ascii_letter.build_tarball import Letter, write_tarball
from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import Typeface, draw_letter, find_typefaces
from stages.mistakes import show as stage
from stages.mistakes.show import Judged, accuracy_by, draw_sheet, read_judged
from stages.mnist.errors import PipelineError
from stages.mnist.evaluation import Prediction
from stages.mnist.files import write_csv
from stages.mnist.shards import shard_paths
from tests.ascii_letter.test_tarball import write_tar
from tests.conftest import Params, write_params
from tests.mnist.test_files import contents

TYPEFACES = {face.name: face for family in find_typefaces() for face in family}
MANROPE, SERIF = TYPEFACES["Manrope-Bold"], TYPEFACES["DejaVuSerif-Bold"]
OUTPUTS = ["accuracy_by_case.csv", "accuracy_by_family.csv", "ceiling.json", "sheet.png"]
SIZE, SHAPE = 28, (32, 32)


class Said(NamedTuple):
    """A letter in a typeface, and what was said of it; None for a letter of the training split."""

    letter: str
    typeface: Typeface
    predicted: str | None
    probability: float = 0.5


LETTERS = [
    Said("a", SERIF, "a"),
    Said("A", SERIF, "h", 0.934),
    Said("b", MANROPE, "b"),
    Said("l", MANROPE, "i", 0.51),
    Said("I", MANROPE, "i"),
    Said("c", MANROPE, None),
]
UNSEEN = [Said("I", MANROPE, "l", 0.4), Said("Q", SERIF, "q"), Said("x", SERIF, "x")]


def image_of(said: Said) -> Image.Image:
    """The letter, a pixel to the right of the centre."""
    box = draw_letter(said.letter, said.typeface, SIZE, SHAPE).getbbox()
    assert box is not None
    return draw_letter(said.letter, said.typeface, SIZE, SHAPE, (box[0] + 1, box[1]))


def make_split(
    folder: Path, predictions: Path, letters: Sequence[Said], n_shards: int = 1
) -> list[Path]:
    """Writes letters to tarballs and what was said of them to a table; returns the tarballs."""
    drawn, rows = [], []
    for i, said in enumerate(letters):
        png = io.BytesIO()
        image_of(said).save(png, "PNG")
        actual, face = said.letter.lower(), said.typeface
        case = "capital" if said.letter.isupper() else "small"
        name = f"{actual}/{i}.png"
        drawn.append(Letter(name, png.getvalue(), face.name, face.family, face.style, case))
        if said.predicted is not None:
            rows.append(Prediction(name, actual, said.predicted, said.probability))
    folder.mkdir(parents=True, exist_ok=True)
    tarballs = shard_paths(folder, ".tar", n_shards)
    for index, tarball in enumerate(tarballs):
        write_tarball(tarball, drawn[index::n_shards])
    write_csv(predictions, Prediction._fields, sorted(rows))
    return tarballs


def make_inputs(
    folder: Path,
    params: Params,
    letters: Sequence[Said] = LETTERS,
    unseen: Sequence[Said] = UNSEEN,
    **values: Any,
) -> None:
    params["ascii_letter"] |= {
        "image_height": 32,
        "image_width": 32,
        "letter_size": SIZE,
        "n_classes": 26,
    } | values  # a section may state a key of the root
    write_params(folder, params)
    raw, predictions = folder / stage.RAW, folder / stage.PREDICTIONS
    n_shards = AsciiLetterConfig.from_yaml(folder / "params.yaml").n_shards
    make_split(raw / "letters", predictions / "predictions.csv", letters, n_shards)
    make_split(raw / "unseen", predictions / "predictions_unseen.csv", unseen, n_shards)


class Shown(NamedTuple):
    files: dict[str, bytes]
    again: dict[str, bytes]
    printed: str


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params) -> Shown:
    """What two runs of the stage wrote."""
    folder = tmp_path_factory.mktemp("mistakes")
    make_inputs(folder, _tiny_params | {"ascii_letter": dict(_tiny_params["ascii_letter"])})
    runs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        printed: list[str] = []
        patch.setattr("builtins.print", lambda *words: printed.append(" ".join(map(str, words))))
        for _ in range(2):
            stage.main()
            runs.append({path.name: path.read_bytes() for path in stage.RESULTS.iterdir()})
    return Shown(runs[0], runs[1], printed[0])


def test_letters_in_shards_are_shown_as_those_in_one(
    project: Path, tiny_params: Params, shown: Shown
) -> None:
    make_inputs(project, tiny_params, n_shards=3)
    assert len(list(Path(stage.RAW / "letters").iterdir())) == 3
    stage.main()
    assert {path.name: path.read_bytes() for path in stage.RESULTS.iterdir()} == shown.files


def table(content: bytes) -> list[list[str]]:
    return list(csv.reader(content.decode().splitlines()))


def test_the_stage_writes_the_same_bytes_twice_and_says_how_many_are_wrong(shown: Shown) -> None:
    assert sorted(shown.files) == OUTPUTS
    assert shown.files == shown.again
    assert shown.printed == "data/mistakes: 3 mistakes in 8 letters"


def test_the_tables_count_every_letter_that_was_judged_and_every_mistake(shown: Shown) -> None:
    assert table(shown.files["accuracy_by_family.csv"]) == [
        ["family", "n_letters", "accuracy"],
        ["DejaVu Serif (test)", "2", "0.5"],
        ["Manrope (test)", "3", "0.6667"],
        ["DejaVu Serif (unseen)", "2", "1.0"],
        ["Manrope (unseen)", "1", "0.0"],
    ]
    assert table(shown.files["accuracy_by_case.csv"]) == [
        ["case", "n_letters", "accuracy"],
        ["capital (test)", "2", "0.5"],
        ["small (test)", "3", "0.6667"],
        ["capital (unseen)", "2", "0.5"],
        ["small (unseen)", "1", "1.0"],
    ]


def cells(sheet: Image.Image, n: int) -> list[Image.Image]:
    """The places of the first n letters of a sheet: ten in a row, 96 x 104 pixels each."""
    corners = [(i % 10 * 96, i // 10 * 104) for i in range(n)]
    return [sheet.crop((x, y, x + 96, y + 104)) for x, y in corners]


def picture(cell: Image.Image) -> bytes:
    return cell.crop((16, 4, 80, 68)).tobytes()


def doubled(image: Image.Image) -> bytes:
    return image.resize((64, 64), Image.Resampling.NEAREST).tobytes()


def test_the_sheet_shows_every_mistake_and_nothing_else(shown: Shown) -> None:
    sheet = Image.open(io.BytesIO(shown.files["sheet.png"]))
    assert sheet.size == (960, 104)
    mistakes = [LETTERS[1], UNSEEN[0], LETTERS[3]]  # a > h, i > l, l > i
    found = cells(sheet, 10)
    for cell, said in zip(found, mistakes, strict=False):
        assert picture(cell) == doubled(image_of(said)), said.letter
    for cell in found[3:]:
        assert cell.getcolors() == [(96 * 104, 24)]


def test_the_ceiling_is_what_is_left_when_half_of_the_shared_letters_are_wrong(
    shown: Shown,
) -> None:
    assert json.loads(shown.files["ceiling.json"]) == {
        "shared": 2,  # the l and the I of Manrope, right or wrong
        "ceiling": 0.8,  # of 5 judged letters, 1 cannot be right
        "shared_unseen": 1,
        "ceiling_unseen": 0.833333,  # of 3, half a letter
    }


def test_a_drawing_is_not_shared_with_a_letter_that_is_no_class(
    project: Path, tiny_params: Params
) -> None:
    """With the classes a to i, nothing else looks like an I."""
    letters = [Said("I", MANROPE, "i"), Said("a", SERIF, "a")]
    make_inputs(project, tiny_params, letters, letters, n_classes=9)
    stage.main()
    ceiling = json.loads((stage.RESULTS / "ceiling.json").read_text(encoding="utf-8"))
    assert ceiling == {"shared": 0, "ceiling": 1, "shared_unseen": 0, "ceiling_unseen": 1}


def judged(
    actual: str,
    predicted: str,
    face: Typeface = SERIF,
    probability: float = 0.5,
    case: str = "small",
) -> Judged:
    image = draw_letter(actual, face, SIZE, SHAPE)
    return Judged(image, actual, predicted, probability, face.name, face.family, case)


def test_each_letter_of_a_sheet_has_its_classes_probability_and_typeface(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts: list[tuple[tuple[int, int], str]] = []
    text = ImageDraw.ImageDraw.text

    def watched(self: Any, xy: tuple[int, int], words: str, **options: Any) -> None:
        texts.append((xy, words))
        text(self, xy, words, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", watched)
    names = "abcdefghijkl"  # more than a row
    letters = [judged(name, "z", probability=i / 100) for i, name in enumerate(names)]
    sheet = draw_sheet(letters)
    assert sheet.size == (960, 208)
    for i, (cell, letter) in enumerate(zip(cells(sheet, 12), letters, strict=True)):
        assert picture(cell) == doubled(letter.image)
        assert max(cell.crop((0, 70, 96, 104)).tobytes()) > 150  # the words are inside
        (at, caption), (below, typeface) = texts[2 * i : 2 * i + 2]
        assert caption == f"{letter.actual} > z  {i}%"
        assert typeface == "DejaVuSerif-Bold"
        for x, y in (at, below):
            assert (x // 96, y // 104) == (i % 10, i // 10)


def test_a_sheet_without_mistakes_is_an_empty_row() -> None:
    sheet = draw_sheet([])
    assert sheet.getcolors() == [(960 * 104, 24)]


def test_accuracy_is_given_for_each_group_by_name() -> None:
    letters = [
        judged("a", "a", MANROPE, case="small"),
        judged("b", "c", MANROPE, case="capital"),
        judged("b", "b", SERIF, case="capital"),
        judged("d", "d", MANROPE, case="capital"),
    ]
    assert accuracy_by(letters, "family") == [
        ("DejaVu Serif", 1, 1.0),
        ("Manrope", 3, pytest.approx(2 / 3)),
    ]
    assert accuracy_by(letters, "case") == [("capital", 3, pytest.approx(2 / 3)), ("small", 1, 1.0)]


@pytest.mark.parametrize("split", [LETTERS, UNSEEN], ids=["test", "unseen"])
def test_a_prediction_without_its_letter_or_manifest_line_is_refused(
    tmp_path: Path, project: Path, tiny_params: Params, split: list[Said]
) -> None:
    make_inputs(project, tiny_params)
    config = AsciiLetterConfig.from_yaml()
    folder, predictions = tmp_path / "some", tmp_path / "some.csv"
    (tarball,) = make_split(folder, predictions, split)
    assert len(read_judged(folder, predictions, config)) == sum(
        said.predicted is not None for said in split
    )
    with predictions.open("a", encoding="utf-8") as table:
        table.write("z/77.png,z,z,0.5\n")
    with pytest.raises(PipelineError, match=r"some\.csv: z/77\.png is not in .*some$"):
        read_judged(folder, predictions, config)
    png = io.BytesIO()
    image_of(split[0]).save(png, "PNG")
    for manifest in (b"file\n", b"file\nz/77.png\n", b"file,typeface,family,case\nz/77.png,Lato\n"):
        write_tar({"z/77.png": png.getvalue(), "manifest.csv": manifest}, tarball)
        with pytest.raises(PipelineError, match=r"some-.*\.tar: its manifest lacks z/77\.png"):
            read_judged(folder, predictions, config)


@pytest.mark.parametrize("name", ["letters", "unseen"])
def test_a_tarball_that_cannot_be_read_is_refused_and_older_results_are_left(
    project: Path, tiny_params: Params, name: str
) -> None:
    make_inputs(project, tiny_params)
    (tarball,) = shard_paths(stage.RAW / name, ".tar", 1)
    tarball.write_bytes(b"not a tarball")
    stage.RESULTS.mkdir()
    for output in OUTPUTS:
        (stage.RESULTS / output).write_bytes(b"older")
    before = contents(project)
    with pytest.raises(PipelineError, match=f"{tarball}: its manifest cannot be read"):
        stage.main()
    assert contents(project) == before
