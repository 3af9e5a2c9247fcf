"""The data sets of drawn letters: their content, and that it is the same on every machine."""

import csv
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tracemalloc
from collections import Counter
from itertools import product, repeat
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image, ImageFile

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.drawing import SETS, Letter, draw_set, draw_tarballs, write_tarball
from letterpress.ascii_letter.none import NEW_KINDS, TRAINED_KINDS
from letterpress.ascii_letter.typefaces import draw_ink, find_typefaces
from letterpress.core.errors import PipelineError
from letterpress.jobs.shards import shard_paths
from stages.build_ascii_tarball import RAW, TYPEFACES
from tests.conftest import copy_project, replace_typefaces

CONFIG = AsciiLetterConfig(
    n_images_per_class=8, n_validation_per_class=4, n_unseen_per_class=6, data_seed=1
)
N = {"letters": 8, "validation": 4, "unseen": 6}  # in typefaces; half as many of a pen
N_NONE = {name: 13 * n for name, n in N.items()}  # a quarter of all images
GOLDEN_SHA256 = {
    "letters": "0750ee43d15e792a6e00a35054a5984c5e0eaeb1979379076fb8618c16e439ab",
    "validation": "ecb9afb58deab03d72477dd99b770ee2cb62805eafbd657b6135107aabb4a65b",
    "unseen": "abaf7da878a85d6a982e93e24208190d8ebb5e55ffd061547fddf3e9f7a9b30e",
}


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


def draw(folder: Path, shard: int = 0, **changes: Any) -> list[Letter]:
    """Draws the training letters, and none of what is not a letter."""
    config = CONFIG.replace(none_share=0.0, **changes)
    return list(draw_set(config, "letters", find_typefaces(folder, "train"), shard))


@pytest.fixture(scope="module")
def tarballs(_typefaces: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tarball]:
    raw = tmp_path_factory.mktemp("drawn") / "raw"
    with pytest.MonkeyPatch.context() as patch:
        draw_tarballs(raw, replace_typefaces(_typefaces, patch), CONFIG)
    assert {path.name for path in raw.iterdir()} == SETS.keys()
    return {name: load(shard_paths(raw / name, ".tar", 1)[0]) for name in SETS}


def test_tarballs_hold_different_images_and_a_manifest(
    tarballs: dict[str, Tarball], typefaces: Path
) -> None:
    for name, tarball in tarballs.items():
        assert list(tarball.images) == [row["file"] for row in tarball.manifest]
        counts = Counter((row["file"][0], row["style"] == "pen") for row in tarball.manifest)
        for letter in "abcdefghijklm":  # n is also the first letter of none
            assert (counts[letter, False], counts[letter, True]) == (N[name], N[name] / 2)
        none = [row for row in tarball.manifest if row["file"].startswith("none/")]
        assert len(none) == N_NONE[name]
        kinds = TRAINED_KINDS + NEW_KINDS if name == "unseen" else TRAINED_KINDS
        assert {row["style"] for row in none} == {*kinds}
        known = {family[0].family for family in find_typefaces(typefaces, SETS[name])}
        drawn = {row["family"] for row in tarball.manifest}
        assert drawn - {"none"} == known
        assert {row["families"] for row in tarball.manifest} == {SETS[name]}
        capitals = [row for row in tarball.manifest if row["case"] == "capital"]
        assert 0.5 <= len(capitals) / (39 * N[name]) <= 0.56  # an odd number of a pen's
    images = [image for tarball in tarballs.values() for image in tarball.images.values()]
    assert {(i.format, i.mode, i.size) for i in images} == {("PNG", "L", (32, 32))}
    assert len({image.tobytes() for image in images}) == len(images)
    assert min(max(image.tobytes()) for image in images) >= 64


def test_tarballs_have_the_same_bytes_on_every_machine(tarballs: dict[str, Tarball]) -> None:
    # After a wanted change of the drawing, or of a package that pyproject.toml pins, replace them.
    assert {name: tarball.sha256 for name, tarball in tarballs.items()} == GOLDEN_SHA256


def test_the_stage_writes_the_shards_that_the_library_draws(
    tmp_path: Path, typefaces: Path
) -> None:
    """In another process with another hash seed and time zone."""
    few = {"n_images_per_class": 2, "n_validation_per_class": 2, "n_unseen_per_class": 2}
    config = CONFIG.replace(n_shards=3, **few)
    copy_project(tmp_path / "copy", {"ascii_letter": config.model_dump()})
    (tmp_path / "copy" / TYPEFACES).parent.mkdir()
    (tmp_path / "copy" / TYPEFACES).symlink_to(typefaces)
    words = [sys.executable, "-m", "stages.build_ascii_tarball"]
    env = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run(words, cwd=tmp_path / "copy", env=env, check=True)
    for shard, path in enumerate(shard_paths(tmp_path / "copy" / RAW / "unseen", ".tar", 3)):
        letters = draw_set(config, "unseen", find_typefaces(typefaces, "unseen"), shard)
        write_tarball(tmp_path / "expected.tar", letters, "unseen")
        assert path.read_bytes() == (tmp_path / "expected.tar").read_bytes()
    assert len(list((tmp_path / "copy" / RAW).rglob("*.tar"))) == 9


def test_a_tarball_is_not_kept_in_memory(tmp_path: Path) -> None:
    letter = Letter("a/0.png", bytes(1000), "Lato", "Lato", "serif", "small")
    tracemalloc.start()
    write_tarball(tmp_path / "letters.tar", repeat(letter, 5000), "train")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 250 * 5000


def test_a_failed_build_leaves_the_older_tarballs_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typefaces: Path
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "older.tar").write_bytes(b"older")
    monkeypatch.setattr("letterpress.ascii_letter.drawing._add_file", fail)
    with pytest.raises(OSError, match="no space left"):
        draw_tarballs(tmp_path / "raw", typefaces, CONFIG)
    with pytest.raises(PipelineError, match="no such file"):
        draw_tarballs(tmp_path / "raw", tmp_path, CONFIG)
    assert list(tmp_path.rglob("*")) == [tmp_path / "raw", tmp_path / "raw" / "older.tar"]


def test_other_values_change_letters_but_more_letters_do_not(typefaces: Path) -> None:
    few = {"n_classes": 5}
    images = {letter.filename: pixels(letter) for letter in draw(typefaces, **few)}

    def n_same(letters: list[Letter]) -> int:
        return sum(pixels(letter) == images.get(letter.filename) for letter in letters)

    assert n_same(draw(typefaces, **few, n_images_per_class=20)) == len(images)
    assert n_same(draw(typefaces, **few, seed=9)) == len(images)  # of the training alone
    for changes in ({"data_seed": 2}, {"off_center": 4.0}, {"letter_size": 14}):
        assert n_same(draw(typefaces, **few, **changes)) < len(images) / 2
    small = draw(typefaces, n_classes=3, image_height=20, image_width=40, pen_share=0.0)
    assert [letter.filename[0] for letter in small] == list("abc") * 8
    assert {Image.open(io.BytesIO(letter.png)).size for letter in small} == {(40, 20)}


def test_families_take_turns_and_script_is_rare(typefaces: Path) -> None:
    letters = draw(typefaces, n_classes=2, n_images_per_class=40, pen_share=0.0)
    for name, case in product("ab", ("capital", "small")):
        families = [x.family for x in letters if (x.filename[0], x.case) == (name, case)]
        counts = Counter(families)
        assert counts.pop("Stix-Italic") == 2  # a tenth of 20
        assert len(counts) == 3 and set(counts.values()) == {6}
        assert set(families[:3]) == set(counts)
    unseen = draw_set(CONFIG, "unseen", find_typefaces(typefaces, "unseen"))
    drawn = Counter((x.family, x.case) for x in unseen if x.style not in ("pen", *TRAINED_KINDS))
    assert {n for (_, case), n in drawn.items() if case in ("capital", "small")} == {26}


def test_shards_share_no_image_and_have_all_letters_together(typefaces: Path) -> None:
    for n_shards, off_center in ((2, 1.0), (7, 2.0)):
        changes = {"n_shards": n_shards, "off_center": off_center, "pen_share": 0.0}
        shards = [draw(typefaces, shard, **changes) for shard in range(n_shards)]
        letters = [letter for shard in shards for letter in shard]
        names = [f"{name}/{i:05d}.png" for i in range(8) for name in CONFIG.class_names]
        assert [letter.filename for letter in letters] == names
        assert len({pixels(letter) for letter in letters}) == len(letters)


@pytest.mark.parametrize("n_shards", [1, 3])
def test_no_image_of_no_letter_is_drawn_twice(n_shards: int, typefaces: Path) -> None:
    one_family = find_typefaces(typefaces, "train")[:1]
    config = CONFIG.replace(n_shards=n_shards, n_images_per_class=1, none_share=0.98)
    sets = [draw_set(config, "letters", one_family, shard) for shard in range(n_shards)]
    images = [pixels(drawn) for one in sets for drawn in one if drawn.filename.startswith("none/")]
    assert len(images) == config.n_none(26)
    assert len({*images}) == len(images)


def test_too_few_different_drawings_are_an_error(typefaces: Path) -> None:
    with pytest.raises(PipelineError, match=r"^ascii_letter: too few .*Lower n_images_.*$"):
        draw(typefaces, n_classes=2, off_center=0, n_images_per_class=60)


def test_letters_are_whole_and_no_further_off_center_than_the_config_allows(
    typefaces: Path,
) -> None:
    """Half a pixel is always allowed: the middle of the image may be between two pixels."""
    families = find_typefaces(typefaces, "train")
    faces = {face.name: face for family in families for face in family}
    for off_center in (0, 0.3, 1.0, 2.5):
        for letter in draw(typefaces, off_center=off_center, pen_share=0.0):
            image = Image.open(io.BytesIO(letter.png))
            name = letter.filename[0]
            character = name.upper() if letter.case == "capital" else name
            ink = draw_ink(character, faces[letter.typeface], 22, (32, 32))
            box = image.getbbox() or (0, 0, 0, 0)
            assert image.crop(box).tobytes() == ink.tobytes(), letter.filename
            off = max(abs(box[0] + box[2] - 32), abs(box[1] + box[3] - 32)) / 2
            assert off <= max(off_center, 0.5), letter.filename
