"""Images in class folders: where the classes are, what is left out, and how they are divided."""

import io
import os
import random
import shutil
import tarfile
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backports import zstd
from PIL import Image

from letterpress.core.errors import PipelineError
from letterpress.images.config import ImagesConfig
from letterpress.images.examples import SPLITS, read_splits
from letterpress.images.files import find_layout
from letterpress.new.look import Findings, look
from letterpress.records.example import Example
from tests.conftest import locked


def encode(seed: int, size: tuple[int, int] = (12, 10), kind: str = "PNG") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(file := io.BytesIO(), kind)
    return file.getvalue()


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path := path.with_suffix(".zip"), "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with (
        zstd.open(path := path.with_suffix(".tar.zst"), "w") as file,
        tarfile.open(fileobj=file, mode="w|") as tar,
    ):
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


WRITERS: list[Callable[[Path, Mapping[str, bytes]], Path]] = [write_folder, write_zip, write_tar]
SIZES = {"Rose": 20, "tulip": 7, "sun flower": 3}
FLOWERS = {
    f"{name}/IMG {i}.png": encode(100 * k + i)
    for k, (name, n) in enumerate(SIZES.items())
    for i in range(n)
}
ODD = {
    "__MACOSX/Rose/._IMG 1.png": b"x",
    "Rose/.DS_Store": b"x",
    "Rose/notes.txt": b"x",
    "tulip/IMG.HEIC": b"x",
    "tulip/broken.jpg": b"x",
    "cover.png": encode(999),
}


def config_of(source: Path, **values: Any) -> ImagesConfig:
    classes = [*look(source).counts]
    small: dict[str, Any] = {"image_height": 8, "image_width": 8, "n_channels": 3}
    return ImagesConfig.named("flowers")(
        **small | {"source": str(source), "classes": classes} | values
    )


def read(config: ImagesConfig) -> dict[str, list[Example]]:
    return {split: list(examples) for split, examples in read_splits(config).items()}


@pytest.mark.parametrize("write", WRITERS)
def test_unequal_classes_are_divided_by_their_shares_whatever_the_container(
    write: Callable[[Path, Mapping[str, bytes]], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = write(tmp_path / "data", {f"my data/{k}": v for k, v in (FLOWERS | ODD).items()})
    config = config_of(source, test_share=0.2)
    splits = read(config)
    assert ".heic: not an image format. Convert HEIC to JPEG" in look(source).left_out
    shown = capsys.readouterr().out
    assert "train: left out 1 image\n  my data/tulip/broken.jpg: not an image" in shown
    counts = {split: Counter(config.classes[e.label] for e in splits[split]) for split in SPLITS}
    assert counts == {
        "test": {"Rose": 4, "tulip": 2, "sun flower": 1},
        "validation": {"Rose": 3, "tulip": 1, "sun flower": 1},
        "train": {"Rose": 13, "tulip": 4, "sun flower": 1},  # the broken one is left out
    }
    names = [e.filename for examples in splits.values() for e in examples]
    assert sorted(names) == sorted(f"my data/{name}" for name in FLOWERS)
    again = read(config_of(source, test_share=0.2, data_seed=1))
    assert {e.filename for e in again["test"]} != {e.filename for e in splits["test"]}


def test_links_and_pipes_are_left_out_and_reported(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", FLOWERS)
    (folder / "Rose/gone.png").symlink_to("nowhere")
    (folder / "lily").symlink_to(folder / "Rose")
    os.mkfifo(folder / "tulip/pipe.png")
    archive = write_zip(tmp_path / "data", FLOWERS)
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        tar.add(folder, "")
        link = tarfile.TarInfo("Rose/hard.png")
        link.type, link.linkname = tarfile.LNKTYPE, "Rose/IMG 1.png"
        tar.addfile(link)
        tar.add(archive, "more.zip")  # its end looks like that of a zip file
    with zipfile.ZipFile(archive, "a") as zipped:
        symbolic = zipfile.ZipInfo("Rose/link.png")
        symbolic.external_attr = 0o120777 << 16
        zipped.writestr(symbolic, "/etc/passwd")
    for source, n_odd in ((folder, 3), (tmp_path / "data.tar", 4), (archive, 1)):
        findings = look(source)
        assert findings.totals == SIZES
        assert sum(": a link, or not a file" in reason for reason in findings.left_out) == n_odd
        examples = [e for split in read(config_of(source)).values() for e in split]
        assert len(examples) == len(FLOWERS)


def test_a_folder_that_cannot_be_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_folder(tmp_path / "folder", FLOWERS)
    monkeypatch.setattr(os, "scandir", locked(source / "Rose"))
    with pytest.raises(PipelineError, match=r"folder/Rose: Permission denied\. Make it readable"):
        read(config_of(source))


def test_names_that_cannot_be_printed_are_refused(tmp_path: Path) -> None:
    for name in ("new\nline", "\udcff"):  # the latter is not UTF-8
        source = write_folder(tmp_path / name.encode("unicode_escape").decode(), FLOWERS)
        write_folder(source, {f"{name}/1.png": encode(1)})
        with pytest.raises(
            PipelineError, match=r"/1\.png' has a control character or is not UTF-8"
        ):
            look(source)


def test_images_beside_the_class_folders_are_left_out(tmp_path: Path) -> None:
    findings = look(write_folder(tmp_path, FLOWERS | {"cover.png": encode(999)}))
    assert findings.totals == SIZES
    assert findings.left_out == {"outside the class folders": 1}


def test_an_added_image_leaves_the_others_in_their_splits(tmp_path: Path) -> None:
    source = write_folder(tmp_path, FLOWERS)
    before = {
        e.filename: split for split, examples in read(config_of(source)).items() for e in examples
    }
    write_folder(tmp_path, {"Rose/new.png": encode(5000)})
    after = {
        e.filename: split for split, examples in read(config_of(source)).items() for e in examples
    }
    assert sum(after[name] != split for name, split in before.items()) <= 2


def test_split_folders_are_used_and_a_missing_one_is_drawn(tmp_path: Path) -> None:
    halves = {"Training": "Rose", "test": "rose", "extra": "rose"}
    files = {
        f"all/{split}/{name}/{i}.png": encode(1000 * s + 100 * k + i)
        for s, (split, rose) in enumerate(halves.items())
        for k, name in enumerate((rose, "tulip"))
        for i in range(10)
    }
    source = write_folder(tmp_path, files | {"all/test/unlabelled.png": encode(9)})
    findings = look(source)
    assert findings.counts == {name: {"train": 10, "test": 10} for name in ("Rose", "tulip")}
    assert findings.left_out == {"outside the class folders": 21}
    splits = read(config_of(source))
    assert {split: len(examples) for split, examples in splits.items()} == {
        "test": 20,
        "validation": 4,
        "train": 16,
    }
    assert {e.filename.split("/")[1] for e in splits["test"]} == {"test"}


def test_equal_images_stay_in_one_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copies = {f"{name[:-4]} copy.png": content for name, content in FLOWERS.items()}
    splits = read(config_of(write_folder(tmp_path, FLOWERS | copies)))
    seen = [{e.image.tobytes() for e in examples} for examples in splits.values()]
    assert all(seen)
    assert not (seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2])
    assert "equals an image of the test split" in capsys.readouterr().out


def test_inverted_drawings_are_white_on_black_to_the_rim(tmp_path: Path) -> None:
    files = {}
    for name, top in (("a", 8), ("b", 20)):
        for i in range(4):
            drawing = Image.new("L", (60, 30), 255)
            drawing.paste(i, (20, top, 40, top + 6))
            drawing.save(file := io.BytesIO(), "PNG")
            files[f"{name}/{i}.png"] = file.getvalue()
    source = write_folder(tmp_path, files)
    findings = look(source)
    assert (findings.is_dark_on_light, findings.is_colour) == (True, False)
    for examples in read(config_of(source, invert=True, n_channels=1)).values():
        for example in examples:
            assert example.image[[0, -1]].max() == example.image[:, [0, -1]].max() == 0
            assert example.image.max() > 100


def test_a_new_class_folder_is_an_error(tmp_path: Path) -> None:
    config = config_of(write_folder(tmp_path, FLOWERS))
    write_folder(tmp_path, {"lily/1.png": encode(1)})
    with pytest.raises(PipelineError, match=r"lily/ is not among flowers.classes. Add it"):
        read_splits(config)


def test_what_cannot_be_used_is_refused_with_a_remedy(tmp_path: Path) -> None:
    few = {"a/1.png": encode(1), "b/1.png": encode(2)}
    for number, (files, reason) in enumerate(
        (
            ({"a/1.png": encode(1)}, r"at least two class folders with images \(got a\)"),
            (
                {"1.png": encode(1)},
                r"at least two class folders .* \(got none; left out 1: outside",
            ),
            ({"a/1.heic": b"x"}, r"\(got none; left out 1: \.heic: .* Convert HEIC to JPEG\)"),
            (
                FLOWERS | {"lily/1.png": b"x"},
                r"no training images of class lily \(got {'train': 0}; left out 1: lily/1.png: not",
            ),
            (
                {f"{split}/{i}.png": encode(i) for split in ("train", "test") for i in range(3)},
                r"expected class folders inside the split folders \(got images in test, train\)",
            ),
            (few, "fewer than three images per class"),
            (few | {"None/1.png": encode(3)}, "None stands for images of no class. Rename the"),
            (
                {f"{s}/a/{i}.png": encode(i) for s in ("train", "test") for i in range(3)}
                | {f"test/b/{i}.png": encode(i) for i in range(3)},
                "no training images of class b",
            ),
        )
    ):
        with pytest.raises(PipelineError, match=reason):
            look(write_folder(tmp_path / str(number), files))
    (path := tmp_path / "params.yaml").write_text("flowers: {classes: [a, none]}\n", "utf-8")
    with pytest.raises(PipelineError, match=r"flowers.classes.1: none stands for images of no cl"):
        ImagesConfig.named("flowers").from_yaml(path)
    with pytest.raises(PipelineError, match=r"no such file or folder\. Check --from"):
        look(tmp_path / "missing")


@pytest.mark.parametrize("write", WRITERS[1:])
def test_names_in_archives_are_those_of_the_unpacked_files(
    write: Callable[[Path, Mapping[str, bytes]], Path], tmp_path: Path
) -> None:
    odd = {f"{'./' if name[0] == 'R' else '//'}{name}": FLOWERS[name] for name in FLOWERS}
    assert look(write(tmp_path / "data", odd)).totals == SIZES
    for name, reason in (
        ("Rose/IMG 0.png", r"duplicate file 'Rose/IMG 0\.png'\. Remove one"),
        ("Rose/../../1.png", r"'Rose/\.\./\.\./1\.png' leads out of its folder"),
    ):
        with pytest.raises(PipelineError, match=reason):
            look(write(tmp_path / "data", odd | {name: encode(1)}))


def test_damaged_and_huge_zip_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_zip(tmp_path / "data", FLOWERS)
    content = bytearray(source.read_bytes())
    start = content.index(b"\x89PNG")
    content[start + 40] ^= 0xFF
    source.write_bytes(content)
    (reason,) = look(source).left_out
    assert reason.startswith(f"{source}: not readable as a zip file (Bad CRC-32 for")
    for damaged in (b"PK\x05\x06" + bytes(17) + content[-22:], content[: len(content) // 2]):
        source.write_bytes(damaged)
        with pytest.raises(PipelineError, match="not readable as a zip file"):
            look(source)
    write_zip(tmp_path / "data", FLOWERS)
    monkeypatch.setattr("letterpress.images.files.MOST_EXPANDED", 100)
    monkeypatch.setattr("letterpress.images.files.MOST_EXPANSION", 0)
    with pytest.raises(PipelineError, match="expands to more than 100 bytes"):
        look(source)


def test_layouts() -> None:
    for folders, depth, has_splits in (
        (["a", "b"], 0, False),
        (["x/a", "x/b"], 1, False),
        (["x/y/a/deep", "x/y/b"], 2, False),
        (["train/a", "train/b"], 1, False),
        (["train/a", "val/a"], 0, True),
        (["x/Train/a", "x/TEST/a", "x/meta/b"], 1, True),
        (["train", "car", "test"], 0, False),  # classes
        (["train/a", "train/b", "test"], 0, True),  # a test folder without labels
    ):
        assert find_layout(folders) == (depth, has_splits), folders


def test_what_people_have_is_described(tmp_path: Path) -> None:
    files = {f"{n}/{i}.jpg": encode(i, (40 + i, 80), "JPEG") for n in ("10", "9") for i in range(5)}
    turned = Image.new("RGB", (80, 44), (200, 30, 30))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(file := io.BytesIO(), "JPEG", exif=exif)
    findings: Findings = look(write_folder(tmp_path, files | {"9/phone": file.getvalue()}))
    assert [*findings.counts] == ["9", "10"]
    assert findings.sizes == ((40, 42, 44), (80, 80, 80))
    assert findings.is_colour
    assert findings.n_images == 11


def test_memory_does_not_grow_with_the_size_of_the_images(tmp_path: Path) -> None:
    """400 images of 200 kB, read in four passes, need no more than some of them."""
    content = encode(1, (300, 220), "BMP")
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(200):
            (tmp_path / name / f"{i}.bmp").write_bytes(content[:-2] + random.Random(i).randbytes(2))
    config = config_of(tmp_path)
    tracemalloc.start()
    n_images = sum(1 for examples in read_splits(config).values() for _ in examples)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_images > 0
    assert peak < 10_000_000
    shutil.rmtree(tmp_path)
