"""Reading tar files of images: what is accepted, what is refused, how the files are split."""

import gzip
import io
import lzma
import os
import random
import re
import subprocess
import tarfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backports import zstd
from numpy.testing import assert_array_equal
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.jobs.shards import share
from letterpress.records import tarball as tarball_module
from letterpress.records.image import decode_image
from letterpress.records.tarball import read_examples, read_manifest, read_tarball, split_files

SIDE = 8
COUNTS: dict[str, Any] = {"n_train_samples": 12, "n_validation_samples": 3, "n_test_samples": 6}
CONFIG = AsciiLetterConfig(
    n_classes=3, image_height=SIDE, image_width=SIDE, none_share=0.0, **COUNTS
)


def encode(pixels: int, mode: str = "L", size: tuple[int, int] = (SIDE, SIDE)) -> bytes:
    """A PNG of noise with this seed."""
    noise = np.random.default_rng(pixels).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert("L").convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


PNG = encode(1)


FILES = {f"{n}/{i}.png": encode(100 * k + i) for i in range(8) for k, n in enumerate("abc")}
"""Eight images of each of three classes, all different."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "letters.tar"


def classes(names: set[str]) -> Counter[str]:
    return Counter(name.split("/")[0] for name in names)


def split(tarball: Path, config: ClassifierConfig, shard: int = 0) -> list[set[str]]:
    """The names of the training, validation and test images."""
    masks = split_files(tarball, config, shard)
    assert list(masks) == ["train", "validation", "test"]
    names = [name for name, _ in read_tarball(tarball, config)]
    assert [len(mask) for mask in masks.values()] == [len(names)] * 3
    return [set(compress(names, mask)) for mask in masks.values()]


def write_tar(files: Mapping[str, bytes], path: Path, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(name=path, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def add_member(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    """Appends a member of any kind, whatever its name."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    content = encode(0) if kind == tarfile.REGTYPE else b""
    info.size = len(content)
    with tarfile.open(path, "a") as tar:
        tar.addfile(info, io.BytesIO(content))


def refusal(path: Path) -> str:
    """The error about a tar file, one line that begins with its path; without the path."""
    with pytest.raises(PipelineError) as refused:
        list(read_tarball(path, CONFIG))
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_the_manifest_is_not_an_image_and_damage_to_it_is_an_error(path: Path) -> None:
    for name in ("manifest.csv", "./manifest.csv"):
        write_tar({name: b"file,family\na/0.png,Lato\n"} | FILES, path)
        assert dict(read_tarball(path, CONFIG)) == FILES
        assert read_manifest(path) == {"a/0.png": {"file": "a/0.png", "family": "Lato"}}
    for content in (b"file\n\xff\xfe\n", b"name\na/0.png\n"):
        write_tar({"manifest.csv": content}, path)
        with pytest.raises(PipelineError, match=f"^{path}: manifest.csv is not readable"):
            read_manifest(path)
    with pytest.raises(PipelineError, match=f"^{path}: no file manifest.csv"):
        read_manifest(write_tar(FILES, path))


def test_tar_files_of_any_compression_and_program_are_read(path: Path) -> None:
    for mode in ("w", "w:gz", "w:xz", "w:bz2"):
        write_tar(FILES, path, mode)
        assert list(read_tarball(path, CONFIG)) == list(FILES.items())
    path.write_bytes(run_zstd(write_tar(FILES, path).read_bytes()))
    assert list(read_tarball(path, CONFIG)) == list(FILES.items())
    for name, content in FILES.items():
        (path.parent / "letters" / name).parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "letters" / name).write_bytes(content)
    for packed in (["a", "b", "c"], ["."]):
        subprocess.run(["tar", "-czf", path, "-C", path.parent / "letters", *packed], check=True)
        assert dict(read_tarball(path, CONFIG)) == FILES


def test_a_file_outside_the_class_folders_is_refused(path: Path) -> None:
    for name, remedy in (
        *((name, "Remove it") for name in ("d/0.png", "0.png", "a", "a/b/0.png", "/etc/passwd")),
        ("A/0.png", "Rename the folder to a/"),
        ("letters/a/0.png", "Pack the folders inside letters/"),
    ):
        add_member(write_tar({}, path), name)
        expected = f"{name!r} is not a file in a class folder (expected a/ to c/). {remedy}"
        assert refusal(path).startswith(expected)


def test_devices_links_and_duplicates_are_refused(path: Path) -> None:
    """`tar -r` appends a file again, and both copies stay in the tar file."""
    for name, kind, reason in (
        ("a/device.png", tarfile.FIFOTYPE, "'a/device.png' is not a file in a class folder"),
        ("a/link.png", tarfile.SYMTYPE, "'a/link.png' is a link. Pack the file itself: `tar "),
        ("a/link.png", tarfile.LNKTYPE, "'a/link.png' is a link. Pack the file itself: `tar "),
        ("./b/3.png", tarfile.REGTYPE, "duplicate file 'b/3.png'. Remove one"),
    ):
        add_member(write_tar(FILES, path), name, kind, link="a/0.png")
        assert refusal(path).startswith(reason)


def test_only_control_characters_and_broken_utf_8_are_refused_in_names(path: Path) -> None:
    for odd in "\u202f\u200b😀 é":
        write_tar({f"a/1{odd}2.png": PNG}, path)
        assert dict(read_tarball(path, CONFIG)) == {f"a/1{odd}2.png": PNG}
    for odd in "\n\a\x1b\x7f\x85\udcff":
        add_member(write_tar({}, path), f"a/1{odd}2.png")
        assert refusal(path).startswith(f"{f'a/1{odd}2.png'!r} has a control character")


def test_images_of_no_class_are_accepted_if_the_config_has_a_share_of_them(path: Path) -> None:
    none = {f"none/{i}.png": encode(700 + i) for i in range(9)}
    write_tar(FILES | none, path)
    assert refusal(path).startswith("'none/0.png' is not a file in a class folder (expected a/ to")
    config = CONFIG.replace(none_share=0.25)
    assert config.output_names == ("a", "b", "c", "none")
    labels = {example.filename: example.label for example in read_examples(path, config)}
    assert labels == {name: ["a", "b", "c", "none"].index(name.split("/")[0]) for name in labels}
    assert [classes(names)["none"] for names in split(path, config)] == [4, 1, 2]
    write_tar(FILES | dict(list(none.items())[:6]), path)
    with pytest.raises(PipelineError, match=r"at least 7 images of class none \(got 6\)"):
        split_files(path, config)


class _Accented(AsciiLetterConfig):
    n_classes: int = 2
    none_share: float = 0.0
    n_validation_samples: int = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        return unicodedata.normalize("NFD", "é"), "ö"


def test_composed_and_decomposed_names_are_the_same(path: Path) -> None:
    config = _Accented(n_train_samples=2, n_test_samples=2, image_height=SIDE, image_width=SIDE)
    for form in ("NFC", "NFD"):
        names = [unicodedata.normalize(form, f"{n}/é{i}.png") for n in "éö" for i in range(2)]
        write_tar(dict.fromkeys(names, PNG), path)
        labels = {e.filename: e.label for e in read_examples(path, config)}
        assert labels == {f"{n}/é{i}.png": label for label, n in enumerate("éö") for i in (0, 1)}
        assert [len(names) for names in split(path, config)] == [2, 0, 2]


def test_files_of_the_system_are_left_out_and_counted_once(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = [
        "._a",
        "a/.DS_Store",
        "__MACOSX/a/._0.png",
        "b/Thumbs.db",
        "b/Desktop.ini",
        "a/Icon\r",
        "a/@eaDir/0.png",
        ".git/config",
        "c/.0.png.swp",
    ]
    write_tar(dict.fromkeys(system, b"") | FILES, path)
    train, *_ = split_files(path, CONFIG).values()
    assert {e.filename for e in read_examples(path, CONFIG, train)} <= {*FILES}
    line = f"{path}: {len(system)} hidden files, or of macOS or Windows, left out\n"
    assert capsys.readouterr().out == line


def test_a_text_among_the_images_is_refused_for_every_seed(path: Path) -> None:
    write_tar(FILES | {"b/notes.txt": b"mine"}, path)
    for seed in range(10):
        with pytest.raises(PipelineError, match=r"^b/notes.txt: not an image") as refused:
            split_files(path, CONFIG.replace(data_seed=seed))
        assert "0x" not in str(refused.value)


def test_a_large_member_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tar({"a/0.png": bytes(2000), "a/1.png": PNG}, path)
    monkeypatch.setattr(tarball_module, "MOST_EXPANDED", 1000)
    monkeypatch.setattr(tarball_module, "MOST_EXPANSION", 0)
    assert "expands to more than 1000 bytes" in refusal(path)
    monkeypatch.setattr(tarball_module, "MOST_BYTES", 1000)
    assert "'a/0.png' is larger than 1000 bytes" in refusal(path)


SPARSE = ["gnu", *(f"posix --sparse-version={version}" for version in ("0.0", "0.1", "1.0"))]


@pytest.mark.parametrize("dialect", SPARSE)
def test_the_limits_hold_for_sparse_files(path: Path, dialect: str) -> None:
    """Twenty files of 100 MB in a few kB. A small one is read."""
    folder = path.parent / "letters"
    (folder / "a").mkdir(parents=True)
    pack: list[str | Path] = [
        "tar",
        "-cSf",
        path,
        f"--format={dialect.split()[0]}",
        *dialect.split()[1:],
    ]
    pack += ["-C", folder]
    (folder / "a/0.png").write_bytes(PNG)
    os.truncate(folder / "a/0.png", 1 << 20)
    subprocess.run([*pack, "a"], check=True)
    assert path.stat().st_size < 100_000
    ((name, content),) = read_tarball(path, CONFIG)
    assert (name, content.rstrip(b"\0")) == ("a/0.png", PNG.rstrip(b"\0"))
    for name in ["manifest.csv", *(f"a/{i}.png" for i in range(20))]:
        (folder / name).touch()
        os.truncate(folder / name, 100 << 20)
    subprocess.run([*pack, "manifest.csv", "a"], check=True)
    assert path.stat().st_size < 100_000
    for read in (lambda path: list(read_tarball(path, CONFIG)), read_manifest):
        with pytest.raises(PipelineError, match="expands to more than 1073741824 bytes"):
            read(path)


def test_the_manifest_is_a_bounded_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to itself once gave a RecursionError."""
    for kind in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE):
        add_member(write_tar(FILES, path), "manifest.csv", kind, link="manifest.csv")
        with pytest.raises(PipelineError, match=f"^{path}: no file manifest.csv"):
            read_manifest(path)
    add_member(write_tar({"./manifest.csv": b"file\n"}, path), "manifest.csv")
    with pytest.raises(PipelineError, match=f"^{path}: several files manifest.csv"):
        read_manifest(path)
    write_tar({"manifest.csv": bytes(2000)}, path)
    monkeypatch.setattr(tarball_module, "MOST_BYTES", 1000)
    with pytest.raises(PipelineError, match=r"'manifest.csv' is larger than 1000 bytes"):
        read_manifest(path)


def test_headers_are_bounded(path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        info = tarfile.TarInfo("long")
        info.type, info.size = kind, 2 << 20
        with tarfile.open(path, "w:gz") as tar:
            tar.addfile(info, io.BytesIO(b"a" * info.size))
        assert "a header is larger than 1048576 bytes" in refusal(path)
    info = tarfile.TarInfo("a/0.png")
    info.pax_headers = {"size": "-512"}  # back to its own header, for ever
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    assert "is larger than" in refusal(path)


WRONG_IMAGES = [
    (b"not an image", "not an image"),
    (b"", "not an image"),
    (PNG[:-30], "not readable as an image"),
    (PNG[:-20] + b"\xff" + PNG[-19:], "not readable as an image"),  # wrong checksum
    (encode(1, size=(SIDE + 1, SIDE)), "(got 9x8 in mode L)"),
    (encode(1, "1", size=(3000, 2000)), "(got 3000x2000 in mode 1)"),
    *((encode(1, mode), f"(got 8x8 in mode {mode})") for mode in ("P", "LA", "RGB", "I;16")),
]


def test_a_wrong_image_is_refused_with_its_name() -> None:
    for content, reason in WRONG_IMAGES:
        match = rf"^b/0.png: .*{re.escape(reason)}"
        with pytest.raises(PipelineError, match=match) as refused:
            decode_image("b/0.png", content, CONFIG)
        assert "\n" not in str(refused.value)


def test_any_image_can_be_made_to_fit() -> None:
    drawn = Image.new("L", (80, 80))
    drawn.paste(255, (0, 20, 80, 60))  # a bar across the middle half
    for kind in ("BMP L", "GIF P", "JPEG CMYK", "PNG 1", "PNG LA", "PNG RGBA", "TIFF RGB"):
        name, mode = kind.split()
        file = io.BytesIO()
        drawn.convert("RGB").convert(mode).save(file, name)
        image = decode_image("b/0", file.getvalue(), CONFIG, fit=True)
        assert image.shape == (SIDE, SIDE, 1)
        assert image[[0, 7]].max() < 50
        assert image[[3, 4]].min() > 200
    colours = decode_image("b/0", encode(1, "RGB"), CONFIG.replace(n_channels=3))
    assert (colours.shape, str(colours.dtype)) == ((SIDE, SIDE, 3), "uint8")
    wide = decode_image("b/0", encode(1, size=(64, 16)), CONFIG, fit=True)
    assert wide[:3].max() == wide[5:].max() == 0  # the aspect ratio is kept
    assert wide[3:5].min() > 0
    Image.new("LA", (9, 9), (7, 0)).save(file := io.BytesIO(), "PNG")
    with pytest.raises(PipelineError, match=r"^b/0: every pixel has the same colour"):
        decode_image("b/0", file.getvalue(), CONFIG, fit=True)


def to_png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def test_clear_parts_deep_images_and_long_comments_are_read_and_blanks_are_refused() -> None:
    ring = Image.new("L", (40, 40))
    ring.paste(255, (5, 5, 35, 35))
    ring.paste(0, (15, 15, 25, 25))
    expected = decode_image("a/0", to_png(ring), CONFIG, fit=True)
    clear = {grey: Image.merge("LA", [Image.new("L", (40, 40), grey), ring]) for grey in (0, 255)}
    assert_array_equal(decode_image("a/0", to_png(clear[255]), CONFIG, fit=True), expected)
    assert_array_equal(decode_image("a/0", to_png(clear[0]), CONFIG, fit=True), 255 - expected)
    deep = np.asarray(ring).astype(np.uint16) * 257
    for values in (deep, deep // 16, np.asarray(ring).astype(np.uint16)):  # 16, 12 and 8 bits
        content = to_png(Image.fromarray(values))
        np.testing.assert_allclose(decode_image("a/0", content, CONFIG, fit=True), expected, atol=1)
    comment = PngInfo()
    comment.add_text("comment", "x" * 2_000_000, zip=True)
    for fit in (True, False):
        small = ring.resize((SIDE, SIDE), Image.Resampling.BOX)
        content = to_png(small, pnginfo=comment)
        assert_array_equal(decode_image("a/0", content, CONFIG, fit)[..., 0], np.asarray(small))
    blank = Image.merge("LA", [Image.new("L", (40, 40), 9), Image.new("L", (40, 40))])
    for image in (blank, Image.new("L", (40, 40), 255), Image.new("RGB", (40, 40), "red")):
        with pytest.raises(PipelineError, match="every pixel has the same colour"):
            decode_image("a/0", to_png(image), CONFIG, fit=True)


def run_zstd(content: bytes, window_log: int = 21) -> bytes:
    """Compresses as the command zstd does, with a checksum; 28 is its option --long=28."""
    key = zstd.CompressionParameter
    compressor = zstd.ZstdCompressor(options={key.checksum_flag: 1, key.window_log: window_log})
    return compressor.compress(content) + compressor.flush()


MEMBER = 512 + 512  # a header and the one block of a small image
DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda tar: b"",
    lambda tar: b"This is a text. " * 100,
    lambda tar: tar[: 20 * MEMBER + 512 + 100],  # cut in an image
    lambda tar: tar[: 20 * MEMBER + 512],  # cut after a header
    lambda tar: tar[: 22 * MEMBER + 100],  # cut in a header
    lambda tar: tar[: 22 * MEMBER],  # cut after a member
    lambda tar: tar[: 22 * MEMBER] + b"x" * 512 + tar[22 * MEMBER + 512 :],  # a damaged header
    lambda tar: gzip.compress(tar)[:1200],
    lambda tar: gzip.compress(tar)[:500] + b"\xff" * 8 + gzip.compress(tar)[508:],
    lambda tar: lzma.compress(tar)[:500],
    lambda tar: run_zstd(tar)[:500],
    lambda tar: run_zstd(tar)[:500] + b"\xff" * 8 + run_zstd(tar)[508:],
    lambda tar: run_zstd(tar, window_log=28),  # a buffer of 256 MB to read it
    lambda tar: gzip.compress(tar)[:-8] + bytes(8),  # another checksum
    lambda tar: gzip.compress(b"This is a text. " * 100),
]


def test_a_damaged_tar_file_is_refused_even_if_enough_images_are_left(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_tarball(path, CONFIG))
    content = write_tar(FILES, path).read_bytes()
    assert len(content) > 24 * MEMBER
    for harm in DAMAGES:
        path.write_bytes(harm(content))
        assert refusal(path).startswith("not readable as a tar file (")
    sparse = tarfile.TarInfo("a/0.png")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}  # without its map
    with tarfile.open(path, "w") as tar:
        tar.addfile(sparse)
    assert "a damaged header at byte 1536" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/0.png", PNG)
    assert "(a zip archive: unpack it first). Pack it again with `tar`" in refusal(path)


def test_each_class_has_the_same_share_of_each_split(path: Path) -> None:
    write_tar(FILES, path)
    splits = [split(path, CONFIG.replace(data_seed=seed)) for seed in range(5)]
    for sets in splits:
        for names, n in zip(sets, (4, 1, 2), strict=True):
            assert classes(names) == {"a": n, "b": n, "c": n}
        assert len(set().union(*sets)) == 3 * 7
    assert len({frozenset(train) for train, *_ in splits}) == 5
    assert split(path, CONFIG.replace(seed=7)) == split(path, CONFIG)
    golden = {"a/1.png", "a/4.png", "b/0.png", "b/1.png", "c/0.png", "c/5.png"}
    for order in (list(FILES), random.Random(1).sample(sorted(FILES), len(FILES))):
        write_tar({name: FILES[name] for name in order}, path)
        assert split(path, CONFIG)[2] == golden  # on every machine


def test_the_shards_have_all_samples_of_each_class_in_total(tmp_path: Path) -> None:
    """There are more images than samples, and in 64 shards one or two images per class."""
    counts = {"n_train_samples": 3 * 80, "n_validation_samples": 3 * 10, "n_test_samples": 3 * 20}
    for n_shards in (1, 7, 64):
        config = CONFIG.replace(n_shards=n_shards, **counts)
        totals: list[Counter[str]] = [Counter(), Counter(), Counter()]
        for shard in range(n_shards):
            numbers = share(113, shard, n_shards)
            names = [f"{name}/{i}.png" for i in numbers for name in config.class_names]
            tarball = write_tar(dict.fromkeys(names, PNG), tmp_path / f"{shard}.tar")
            for total, part in zip(totals, split(tarball, config, shard), strict=True):
                assert len({classes(part)[name] for name in config.class_names}) == 1
                total.update(part)
        for total, n in zip(totals, (80, 10, 20), strict=True):
            assert classes(set(total)) == dict.fromkeys(config.class_names, n)
            assert set(total.values()) == {1}
        assert sum(totals, Counter()).total() == 3 * 110 == len(set().union(*totals))


def test_a_shard_is_split_in_its_own_way_and_too_few_images_are_refused(path: Path) -> None:
    config = CONFIG.replace(n_shards=2, n_train_samples=24, n_test_samples=21)
    write_tar(FILES, path)
    assert split(path, config, 0) != split(path, config, 1)
    config = CONFIG.replace(n_shards=2, n_train_samples=45, n_test_samples=6)
    with pytest.raises(PipelineError, match=r"at least 9 images of class a \(got 8\)"):
        split_files(path, config, 1)
    with pytest.raises(
        PipelineError, match=r"^params.yaml: ascii_letter: .* multiples of 3 \(got 13"
    ):
        split_files(path, CONFIG.replace(n_train_samples=13))
