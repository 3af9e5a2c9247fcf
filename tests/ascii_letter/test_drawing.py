"""The two data sets of drawn letters: their content, and that it is the same on every machine."""

import csv
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image, ImageFile

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.drawing import Letter, draw_letters, draw_tarballs, write_tarball
from letterpress.ascii_letter.typefaces import draw_ink, find_typefaces, split_families
from letterpress.core.errors import PipelineError
from letterpress.jobs.shards import shard_paths
from stages.build_ascii_tarball import RAW
from tests.conftest import ROOT, write_params

# With this seed, so few letters show every typeface.
CONFIG = AsciiLetterConfig(n_images_per_class=25, n_unseen_per_class=12, letter_size=28, seed=1)
N = {"letters": 25, "unseen": 12}
GOLDEN_SHA256 = {
    "letters": "0f90c865e0c5ac9db58a0c2efa6486072a50a27a413f2bd8c0df160963a4c9c3",
    "unseen": "dab3c5b8ee646dd3a3df1874baf423af7065b7461e335ba0be589c670372564c",
}
SIDES = dict(zip(("letters", "unseen"), split_families(CONFIG.unseen_families), strict=True))
SEEN = SIDES["letters"]
TYPEFACES = {face.name: face for family in find_typefaces() for face in family}


class Tarball(NamedTuple):
    images: dict[str, ImageFile.ImageFile]
    manifest: list[dict[str, str]]
    sha256: str


def load(path: Path) -> Tarball:
    with tarfile.open(path) as tar:
        files = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
    rows = csv.DictReader(io.StringIO(files.pop("manifest.csv").decode()))
    images = {name: Image.open(io.BytesIO(png)) for name, png in files.items()}
    return Tarball(images, list(rows), hashlib.sha256(path.read_bytes()).hexdigest())


def pixels(letter: Letter) -> bytes:
    return Image.open(io.BytesIO(letter.png)).tobytes()


def draw(n_per_class: int, shard: int = 0, **changes: Any) -> list[Letter]:
    return list(draw_letters(CONFIG.replace(**changes), SEEN, n_per_class, shard))


@pytest.fixture(scope="module")
def tarballs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tarball]:
    raw = tmp_path_factory.mktemp("tarballs") / "raw"
    draw_tarballs(raw, CONFIG)
    assert sorted(path.name for path in raw.iterdir()) == ["letters", "unseen"]
    return {name: load(shard_paths(raw / name, ".tar", 1)[0]) for name in N}


def test_tarballs_hold_different_images_and_a_manifest(tarballs: dict[str, Tarball]) -> None:
    for name, tarball in tarballs.items():
        names = [f"{c}/{i:05d}.png" for i in range(N[name]) for c in CONFIG.class_names]
        assert list(tarball.images) == [row["file"] for row in tarball.manifest] == names
        for i, row in enumerate(tarball.manifest):
            face = TYPEFACES[row["typeface"]]
            case = ("capital", "small")[i // 26 % 2]
            assert list(row.values())[1:] == [face.name, face.family, face.style, case]
        families = Counter(row["family"] for row in tarball.manifest)
        assert families.keys() == {faces[0].family for faces in SIDES[name]}
        assert max(families.values()) < 4 * min(families.values())
    images = [image for tarball in tarballs.values() for image in tarball.images.values()]
    for image in images:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (32, 32))
        assert max(image.tobytes()) >= 64
        assert image.tobytes().count(0) > 512
    assert len({image.tobytes() for image in images}) == 26 * sum(N.values())


def test_tarballs_have_the_same_bytes_on_every_machine(tarballs: dict[str, Tarball]) -> None:
    for name, tarball in tarballs.items():
        drawn = {row["typeface"] for row in tarball.manifest}
        assert drawn == {face.name for family in SIDES[name] for face in family}
    # After a wanted change of the drawing, or of a package that pyproject.toml pins, replace them.
    assert {name: tarball.sha256 for name, tarball in tarballs.items()} == GOLDEN_SHA256


def test_the_stage_writes_the_shards_that_the_library_draws(project: Path) -> None:
    """In another process with another hash seed and time zone."""
    config = CONFIG.replace(n_shards=3, n_images_per_class=5, n_unseen_per_class=4)
    write_params(project, {"ascii_letter": config.model_dump()})
    words = [sys.executable, "-m", "stages.build_ascii_tarball"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    done = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    assert done.stdout == f"{RAW}: 5 + 4 letters per class\n"
    for shard, path in enumerate(shard_paths(RAW / "unseen", ".tar", 3)):
        write_tarball(project / "expected.tar", draw_letters(config, SIDES["unseen"], 4, shard))
        assert path.read_bytes() == (project / "expected.tar").read_bytes()
    assert len(list(RAW.rglob("*.tar"))) == 6


def test_a_tarball_is_not_kept_in_memory(tmp_path: Path) -> None:
    letter = Letter("a/0.png", bytes(1000), "Lato", "Lato", "serif", "small")
    tracemalloc.start()
    write_tarball(tmp_path / "letters.tar", repeat(letter, 5000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 250 * 5000


def test_a_failed_build_leaves_the_older_tarballs_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Iterator[Letter]:
        if arguments[2] == CONFIG.n_unseen_per_class:
            raise OSError("no space left on device")
        return draw_letters(*arguments)

    monkeypatch.setattr("letterpress.ascii_letter.drawing.draw_letters", fail)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "older.tar").write_bytes(b"older")
    with pytest.raises(OSError, match="no space left"):
        draw_tarballs(tmp_path / "raw", CONFIG)
    with pytest.raises(PipelineError, match="unknown typeface family"):
        draw_tarballs(tmp_path / "raw", CONFIG.replace(unseen_families=["Comic Sans"]))
    assert list(tmp_path.rglob("*")) == [tmp_path / "raw", tmp_path / "raw" / "older.tar"]


def test_other_values_change_letters_but_more_letters_do_not(tarballs: dict[str, Tarball]) -> None:
    images = tarballs["letters"].images

    def n_same(letters: list[Letter]) -> int:
        return sum(pixels(letter) == images[letter.filename].tobytes() for letter in letters)

    assert n_same(draw(12)) == 26 * 12
    for changes in ({"seed": 2}, {"off_center": 4.0}, {"letter_size": 20}):
        assert n_same(draw(2, **changes)) < 26
    small = draw(2, n_classes=3, image_height=20, image_width=40)
    assert [letter.filename[0] for letter in small] == list("abcabc")
    assert {Image.open(io.BytesIO(letter.png)).size for letter in small} == {(40, 20)}


def test_every_typeface_and_family_takes_its_turn() -> None:
    n_typefaces = sum(map(len, SEEN))
    by_character: dict[tuple[str, str], list[Letter]] = {}
    for letter in draw(4 * n_typefaces, n_classes=2):
        by_character.setdefault((letter.filename[0], letter.case), []).append(letter)
    orders = set()
    for drawn in by_character.values():
        for half in (drawn[:n_typefaces], drawn[n_typefaces:]):
            assert len({letter.typeface for letter in half}) == n_typefaces
        families = [letter.family for letter in drawn[:n_typefaces]]
        ranks = [families[:i].count(family) for i, family in enumerate(families)]
        assert ranks == sorted(ranks)  # a file of each family before a second of any
        orders.add(tuple(families))
    assert len(orders) == len(by_character) == 4


def test_shards_share_no_image_and_have_all_letters_together() -> None:
    """64 shards are more than the 25 places of a drawing; off_center 0 leaves one place."""
    for n_shards, off_center in ((2, 0), (7, 1.0), (64, 2.0)):
        shards = [draw(60, i, n_shards=n_shards, off_center=off_center) for i in range(n_shards)]
        letters = [letter for shard in shards for letter in shard]
        names = [f"{name}/{i:05d}.png" for i in range(60) for name in CONFIG.class_names]
        assert [letter.filename for letter in letters] == names
        assert len({pixels(letter) for letter in letters}) == len(letters)
        n_capitals = sum(letter.case == "capital" for letter in letters)
        assert n_capitals == len(letters) / 2


def test_too_few_different_drawings_are_an_error() -> None:
    n = 2 * len(TYPEFACES) + 1  # more than each letter has in two cases
    with pytest.raises(PipelineError, match=r"^ascii_letter: too few .*Lower n_images_.*$"):
        for shard in range(3):
            draw(n, shard, n_classes=2, n_shards=3, off_center=0)


def test_letters_are_whole_and_no_further_off_center_than_the_config_allows() -> None:
    """Half a pixel is always allowed: the middle of the image may be between two pixels."""
    for off_center in (0, 0.3, 1.0, 2.5):
        furthest = 0.0
        for letter in draw(8, off_center=off_center):
            image = Image.open(io.BytesIO(letter.png))
            name = letter.filename[0]
            character = name.upper() if letter.case == "capital" else name
            ink = draw_ink(character, TYPEFACES[letter.typeface], 28, (32, 32))
            box = image.getbbox() or (0, 0, 0, 0)
            assert image.crop(box).tobytes() == ink.tobytes(), letter.filename
            off = max(abs(box[0] + box[2] - 32), abs(box[1] + box[3] - 32)) / 2
            assert off <= max(off_center, 0.5), letter.filename
            furthest = max(furthest, off)
        assert furthest >= off_center - 0.5
