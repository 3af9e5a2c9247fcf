"""The format of the tarballs: what is accepted, how the rest is refused, and how it is split."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import re
import struct
import subprocess
import tarfile
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import compress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.tarball import (
    decode_image,
    read_examples,
    read_manifest,
    read_tarball,
    split_files,
)
from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError
from stages.mnist.shards import share
from tests.conftest import ROOT

SIDE = 8
Files = dict[str, bytes]
CONFIG = replace(
    AsciiLetterConfig.from_yaml(ROOT / "params.yaml"),
    n_classes=3,
    n_train_samples=12,
    n_test_samples=6,
    image_height=SIDE,
    image_width=SIDE,
)


def encode(pixels: int, mode: str = "L", size: tuple[int, int] = (SIDE, SIDE)) -> bytes:
    """A PNG of noise with this seed."""
    noise = np.random.default_rng(pixels).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert("L").convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


GOLDEN_TEST_SPLIT = {"a/1.png", "a/3.png", "b/1.png", "b/5.png", "c/0.png", "c/7.png"}


@pytest.fixture
def files() -> Files:
    """Images of three classes, all different."""
    return {f"{n}/{i}.png": encode(100 * k + i) for i in range(8) for k, n in enumerate("abc")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "letters.tar"


def classes(names: set[str]) -> Counter[str]:
    return Counter(name.split("/")[0] for name in names)


def split(tarball: Path, config: MnistConfig, shard: int = 0) -> list[set[str]]:
    """The names of the training images and of the test images."""
    masks = split_files(tarball, config, shard)
    names = [name for name, _ in read_tarball(tarball, config)]
    assert [len(mask) for mask in masks] == [len(names)] * 2
    return [set(compress(names, mask)) for mask in masks]


def write_tar(files: Mapping[str, bytes], path: Path, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(name=path, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def add_member(path: Path, name: str, kind: bytes, link: str = "") -> None:
    """Appends a member of any kind, whatever its name."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    content = encode(0) if kind == tarfile.REGTYPE else b""
    info.size = len(content)
    with tarfile.open(path, "a") as tar:
        tar.addfile(info, io.BytesIO(content))


def refusal(path: Path) -> str:
    """What is said, in one line, of a tarball that is refused."""
    with pytest.raises(PipelineError) as refused:
        list(read_tarball(path, CONFIG))
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["manifest.csv", "./manifest.csv"])
def test_the_manifest_is_no_image_wherever_it_stands(path: Path, files: Files, name: str) -> None:
    write_tar({name: b"file\n"} | files, path)
    assert dict(read_tarball(path, CONFIG)) == files


@pytest.mark.parametrize("name", ["manifest.csv", "./manifest.csv"])
def test_a_manifest_is_read_under_each_name_that_is_accepted(
    path: Path, files: Files, name: str
) -> None:
    write_tar(files | {name: b"file,family\na/0.png,Lato\n"}, path)
    assert read_manifest(path) == {"a/0.png": {"file": "a/0.png", "family": "Lato"}}


MANIFESTS: dict[str, Callable[[Path], object]] = {
    "none": lambda path: write_tar({"a/0.png": encode(1)}, path),
    "not UTF-8": lambda path: write_tar({"manifest.csv": b"file\n\xff\xfe\n"}, path),
    "no tarball": lambda path: path.write_bytes(b"text"),
    "nothing": lambda path: None,
}


@pytest.mark.parametrize("make", MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_that_cannot_be_read_is_refused(
    path: Path, make: Callable[[Path], object]
) -> None:
    make(path)
    with pytest.raises(PipelineError) as refused:
        read_manifest(path)
    assert str(refused.value).startswith(
        (f"{path}: its manifest cannot", f"{path} has no manifest")
    )
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_compressed_tarball_gives_the_same_files(path: Path, files: Files, mode: str) -> None:
    write_tar(files, path, mode=mode)
    assert list(read_tarball(path, CONFIG)) == list(files.items())


@pytest.mark.parametrize("packed", [["a", "b", "c"], ["."]], ids=" ".join)
def test_a_tarball_that_a_person_made_with_tar_is_accepted(
    path: Path, files: Files, tmp_path: Path, packed: list[str]
) -> None:
    folder = tmp_path / "letters"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    subprocess.run(["tar", "-czf", path, "-C", folder, *packed], check=True)
    assert dict(read_tarball(path, CONFIG)) == files


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("d/0.png", tarfile.REGTYPE),  # beyond the third class
        ("A/0.png", tarfile.REGTYPE),
        ("aa/0.png", tarfile.REGTYPE),
        ("0.png", tarfile.REGTYPE),
        ("a", tarfile.REGTYPE),
        ("a/b/0.png", tarfile.REGTYPE),
        ("a/a/0.png", tarfile.REGTYPE),
        ("/a/0.png", tarfile.REGTYPE),
        ("/etc/passwd", tarfile.REGTYPE),
        ("../a/0.png", tarfile.REGTYPE),
        ("a/../../0.png", tarfile.REGTYPE),
        ("a/../b/0.png", tarfile.REGTYPE),
        ("a/link.png", tarfile.SYMTYPE),
        ("a/link.png", tarfile.LNKTYPE),
        ("a/device.png", tarfile.CHRTYPE),
        ("a/device.png", tarfile.BLKTYPE),
        ("a/pipe.png", tarfile.FIFOTYPE),
    ],
)
def test_a_member_that_is_no_file_in_the_folder_of_a_class_is_refused(
    path: Path, files: Files, name: str, kind: bytes
) -> None:
    add_member(write_tar(files, path), name, kind, link="a/0.png")
    message = refusal(path)
    assert message.startswith(f"{path}: {name!r} is no file in the folder of a class")
    assert "(a/ to c/)" in message


@pytest.mark.parametrize("prefix", ["", "./"])
def test_two_members_of_one_name_are_refused(path: Path, files: Files, prefix: str) -> None:
    """`tar -r` appends a file again; both stay, and counting names counts them once."""
    add_member(write_tar(files, path), f"{prefix}b/3.png", tarfile.REGTYPE)
    assert refusal(path) == f"{path}: 'b/3.png' stands there twice: take one out"


def test_colour_images_keep_their_colours() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    image = decode_image("a/0.png", file.getvalue(), replace(CONFIG, n_channels=3))
    np.testing.assert_array_equal(image, noise)


def test_a_grey_image_keeps_its_pixels_and_has_a_channel() -> None:
    image = decode_image("a/0.png", PNG, CONFIG)
    assert image.shape == (SIDE, SIDE, 1)
    assert image.dtype == np.uint8
    assert image.tobytes() == Image.open(io.BytesIO(PNG)).tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG, with its right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = encode(1)
HEADER, PIXELS = PNG[:33], PNG[41:-16]  # between them a length and IDAT; after them checksum, IEND

WRONG_IMAGES: dict[str, tuple[bytes, str]] = {
    "text": (b"not an image", "cannot be read as an image"),
    "nothing": (b"", "cannot be read as an image"),
    "cut off": (PNG[:-30], "cannot be read as an image"),
    "cut off in the header": (PNG[:20], "cannot be read as an image"),
    "damaged pixels": (
        HEADER + chunk(b"IDAT", b"\xff" * 8 + PIXELS[8:]) + chunk(b"IEND", b""),
        "cannot be read as an image",
    ),
    "wrong checksum": (PNG[:-20] + b"\xff" + PNG[-19:], "cannot be read as an image"),
    "damaged chunk": (
        HEADER + chunk(b"IDAT", PIXELS[:9]) + chunk(b"\xff\0\0\xff", PIXELS[9:]),
        "cannot be read as an image",
    ),
    "too wide": (encode(1, size=(SIDE + 1, SIDE)), "an image of 9x8 pixels in mode L"),
    "too high": (encode(1, size=(SIDE, SIDE + 1)), "an image of 8x9 pixels in mode L"),
    "huge": (encode(1, "1", size=(2000, 2000)), "an image of 2000x2000 pixels in mode 1"),
    "two colours": (encode(1, "1"), "an image of 8x8 pixels in mode 1"),
    "palette": (encode(1, "P"), "an image of 8x8 pixels in mode P"),
    "transparent": (encode(1, "LA"), "an image of 8x8 pixels in mode LA"),
    "colour": (encode(1, "RGB"), "an image of 8x8 pixels in mode RGB"),
    "colour and transparent": (encode(1, "RGBA"), "an image of 8x8 pixels in mode RGBA"),
    "16 bits": (encode(1, "I;16"), "an image of 8x8 pixels in mode I;16"),
}


@pytest.mark.parametrize(("content", "reason"), WRONG_IMAGES.values(), ids=WRONG_IMAGES)
def test_a_wrong_image_is_refused_with_its_name(content: bytes, reason: str) -> None:
    with pytest.raises(PipelineError, match=rf"^b/0.png: {re.escape(reason)}") as refused:
        decode_image("b/0.png", content, CONFIG)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("BMP", "L"),
        ("GIF", "P"),
        ("JPEG", "CMYK"),
        ("JPEG", "RGB"),
        ("PNG", "1"),
        ("PNG", "LA"),
        ("PNG", "RGBA"),
        ("TIFF", "RGB"),
        ("WEBP", "RGB"),
    ],
)
def test_any_image_can_be_made_to_fit(kind: str, mode: str) -> None:
    drawn = Image.new("L", (80, 80))
    drawn.paste(255, (0, 20, 80, 60))  # a bar across the middle half
    file = io.BytesIO()
    drawn.convert("RGB").convert(mode).save(file, kind)
    image = decode_image("b/0", file.getvalue(), CONFIG, fit=True)
    assert image.shape == (SIDE, SIDE, 1)
    assert image.dtype == np.dtype(np.uint8)
    assert image[[0, 7]].max() < 50
    assert image[[3, 4]].min() > 200


def test_what_is_made_to_fit_keeps_its_aspect_ratio() -> None:
    wide = decode_image("b/0", encode(1, size=(64, 16)), CONFIG, fit=True)
    assert wide[:3].max() == wide[5:].max() == 0
    assert wide[3:5].min() > 0


def test_what_is_no_image_cannot_be_made_to_fit() -> None:
    with pytest.raises(PipelineError, match=r"^b/0.png: cannot be read as an image: "):
        decode_image("b/0.png", b"text", CONFIG, fit=True)


def cut(content: bytes, at: int) -> bytes:
    assert 0 < at < len(content)
    return content[:at]


def damage(content: bytes) -> bytes:
    """Changes some bytes in the middle."""
    middle = len(content) // 2
    return content[:middle] + b"\xff" * 8 + content[middle + 8 :]


MEMBER = 512 + 512  # a header and the one block of a small image
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda tar: b"",
    "text": lambda tar: b"This is a text. " * 100,
    "a page": lambda tar: b"<!DOCTYPE html><html>Not found</html>",
    "a png": lambda tar: encode(1),
    "cut in an image": lambda tar: cut(tar, 20 * MEMBER + 512 + 100),
    "cut after a header": lambda tar: cut(tar, 20 * MEMBER + 512),
    "cut in a header": lambda tar: cut(tar, 22 * MEMBER + 100),
    "cut after a member": lambda tar: cut(tar, 22 * MEMBER),
    "a damaged header": lambda tar: tar[: 22 * MEMBER] + b"x" * 512 + tar[22 * MEMBER + 512 :],
    "gzip cut": lambda tar: cut(gzip.compress(tar), 1200),
    "gzip damaged": lambda tar: damage(gzip.compress(tar)),
    "xz damaged": lambda tar: damage(lzma.compress(tar)),
    "gzip of a text": lambda tar: gzip.compress(b"This is a text. " * 100),
}


@pytest.mark.parametrize("harm", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_tarball_is_refused(
    path: Path, files: Files, harm: Callable[[bytes], bytes]
) -> None:
    """Even where what is left of it would be enough for the splits: they would be others."""
    assert max(map(len, files.values())) <= 512
    write_tar(files, path)
    path.write_bytes(harm(path.read_bytes()))
    assert refusal(path).startswith(f"{path}: cannot be read as a tarball: ")


def test_a_missing_tarball_is_refused(path: Path) -> None:
    assert str(path) in refusal(path)


def test_a_folder_in_place_of_the_tarball_is_refused(path: Path) -> None:
    path.mkdir()
    assert str(path) in refusal(path)


def test_each_class_has_the_same_share_of_each_split(path: Path, files: Files) -> None:
    train, test = split(write_tar(files, path), CONFIG)
    assert classes(train) == {"a": 4, "b": 4, "c": 4}
    assert classes(test) == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize("seed", range(5))
def test_no_file_is_in_both_splits_and_each_is_of_the_tarball(
    path: Path, files: Files, seed: int
) -> None:
    train, test = split(write_tar(files, path), replace(CONFIG, seed=seed))
    assert not train & test
    assert train | test < files.keys()


def test_the_same_seed_splits_the_same_way_and_another_seed_another(
    path: Path, files: Files
) -> None:
    tarball = write_tar(files, path)
    assert split(tarball, CONFIG) == split(tarball, CONFIG)
    splits = [split(tarball, replace(CONFIG, seed=seed)) for seed in range(5)]
    assert len({frozenset(train) for train, _ in splits}) == 5
    assert len({frozenset(test) for _, test in splits}) == 5


def test_classes_are_split_independently(path: Path, files: Files) -> None:
    train, _ = split(write_tar(files, path), CONFIG)
    numbers = {name: {file[2:] for file in train if file[0] == name} for name in "abc"}
    assert not numbers["a"] == numbers["b"] == numbers["c"]


def test_every_version_of_python_splits_the_same_way(path: Path, files: Files) -> None:
    _, test = split(write_tar(files, path), replace(CONFIG, seed=12345))
    assert test == GOLDEN_TEST_SPLIT


def test_which_files_go_where_does_not_depend_on_their_order(path: Path, files: Files) -> None:
    expected = split(write_tar(files, path), CONFIG)
    shuffled = random.Random(1).sample(sorted(files.items()), len(files))
    assert list(dict(shuffled)) != list(files)
    assert split(write_tar(dict(shuffled), path), CONFIG) == expected


def test_examples_come_in_the_order_of_the_tarball(path: Path, files: Files) -> None:
    names = {"c/1.png", "a/2.png", "b/0.png"}
    chosen = np.array([name in names for name in files])
    examples = list(read_examples(write_tar(files, path), CONFIG, chosen))
    assert [e.filename for e in examples] == [name for name in files if name in names]
    assert {e.image.shape for e in examples} == {(SIDE, SIDE, 1)}
    assert {e.image.dtype for e in examples} == {np.dtype(np.uint8)}


def test_the_examples_of_a_split_are_those_that_are_chosen(path: Path, files: Files) -> None:
    tarball = write_tar(files, path)
    for mask, names in zip(split_files(tarball, CONFIG), split(tarball, CONFIG), strict=True):
        examples = list(read_examples(tarball, CONFIG, mask))
        assert [example.filename for example in examples] == [n for n in files if n in names]


PROJECT = AsciiLetterConfig.from_yaml(ROOT / "params.yaml")


@pytest.mark.parametrize("n_images", [100, 101, 113])
@pytest.mark.parametrize("n_shards", [1, 2, 7, 64])
def test_the_shards_have_all_samples_of_each_class_in_total(
    tmp_path: Path, n_shards: int, n_images: int
) -> None:
    """With the project's params, and where there are more images than samples."""
    config = replace(PROJECT, n_shards=n_shards, n_images_per_class=n_images)
    assert (config.n_train_samples, config.n_test_samples) == (26 * 80, 26 * 20)
    train: list[str] = []
    test: list[str] = []
    for shard in range(n_shards):
        numbers = share(n_images, shard, n_shards)
        files = {f"{name}/{i}.png": b"" for i in numbers for name in config.class_names}
        tarball = write_tar(files, tmp_path / f"{shard}.tar")
        halves = split(tarball, config, shard)
        assert set(files) >= halves[0] | halves[1]
        for half in halves:
            assert len({classes(half)[name] for name in config.class_names}) == 1
        train.extend(halves[0])
        test.extend(halves[1])
    assert classes(set(train)) == dict.fromkeys(config.class_names, 80)
    assert classes(set(test)) == dict.fromkeys(config.class_names, 20)
    assert len(train) + len(test) == len({*train, *test})


def test_shards_are_split_independently(path: Path) -> None:
    config = replace(CONFIG, n_shards=2, n_train_samples=24, n_test_samples=24)
    tarball = write_tar({f"{n}/{i}.png": b"" for n in "abc" for i in range(8)}, path)
    assert split(tarball, config, 0) != split(tarball, config, 1)


def test_too_few_images_in_a_shard_are_refused_with_its_share(path: Path, files: Files) -> None:
    config = replace(CONFIG, n_shards=2, n_train_samples=48, n_test_samples=6)
    with pytest.raises(PipelineError) as refused:
        split_files(write_tar(files, path), config, 1)
    assert str(refused.value) == f"{path}: 8 images of the class a, the params ask for 8 + 1"


def test_all_examples_come_where_none_are_named(path: Path, files: Files) -> None:
    examples = list(read_examples(write_tar(files, path), CONFIG))
    assert [e.filename for e in examples] == list(files)
    assert [e.label for e in examples] == ["abc".index(name[0]) for name in files]


def test_memory_hardly_grows_with_the_number_of_files(path: Path) -> None:
    def peak(n: int) -> int:
        write_tar({f"a/{i}.png": b"" for i in range(n)}, path)
        tracemalloc.start()
        assert sum(1 for _ in read_tarball(path, CONFIG)) == n
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(4000) - peak(1000) < 12 * 3000
