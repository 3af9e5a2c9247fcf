"""From tarballs with one folder of images a class to the three splits."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from stages.ascii_letter import build_tarball
from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.write_tfrecords import RAW, RECORDS, main
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import load_batches
from stages.mnist.errors import PipelineError
from stages.mnist.shards import shard_paths
from tests.ascii_letter.test_tarball import SIDE, Files, classes, encode, split, write_tar
from tests.conftest import Params, write_params
from tests.mnist import test_dataset, test_records
from tests.mnist.test_files import contents

TARBALL, UNSEEN_TARBALL = (shard_paths(RAW / n, ".tar", 1)[0] for n in ("letters", "unseen"))
TRAIN, TEST, UNSEEN = (RECORDS / split for split in ("train", "test", "unseen"))
N_PER_CLASS = 8  # of which 4 are for training and 2 for testing: 2 are left over


class TestAsciiLetterRecords(test_records.TestMnistRecords):
    config_class: ClassVar[type[MnistConfig]] = AsciiLetterConfig


class TestAsciiLetterBatches(test_dataset.TestMnistBatches):
    config_class: ClassVar[type[MnistConfig]] = AsciiLetterConfig


@pytest.fixture
def files() -> Files:
    """Images of three classes, all different."""
    return {
        f"{name}/{number}.png": encode(100 * label + number)
        for number in range(N_PER_CLASS)
        for label, name in enumerate("abc")
    }


@pytest.fixture
def unseen_files() -> Files:
    """Other images, of other names: more of one class than of another."""
    return {f"{name}.png": encode(900 + i) for i, name in enumerate(("c/9", "a/9", "a/10"))}


@pytest.fixture
def config(project: Path, tiny_params: Params, unseen_files: Files) -> AsciiLetterConfig:
    """Three classes of small images, in the params.yaml of the current folder.

    The tarball of the unseen typefaces is there, that of the seen ones not yet.
    """
    write_tar(unseen_files, UNSEEN_TARBALL)
    tiny_params["ascii_letter"] |= {
        "n_classes": 3,
        "n_train_samples": 12,
        "n_test_samples": 6,
        "image_height": SIDE,
        "image_width": SIDE,
    }
    write_params(project, tiny_params)
    return AsciiLetterConfig.from_yaml()


def refusal() -> str:
    """Runs the stage; what it says of a tarball that it refuses, in one line. It leaves no file."""
    before = contents(Path())
    with pytest.raises(PipelineError) as refused:
        main()
    assert contents(Path()) == before
    assert "\n" not in str(refused.value)
    return str(refused.value)


def written(path: Path, config: AsciiLetterConfig) -> dict[str, tuple[bytes, int]]:
    """The pixels and the label of each image in a split, by its name."""
    return {
        name.decode(): ((image * 255).round().astype(np.uint8).tobytes(), int(label))
        for images, labels, names in load_batches(path, config).as_numpy_iterator()
        for image, label, name in zip(images, labels, names, strict=True)
    }


def test_images_beyond_those_asked_for_are_left_out(
    config: AsciiLetterConfig, files: Files
) -> None:
    write_tar(files, TARBALL)
    main()
    assert len(files) > config.n_train_samples + config.n_test_samples
    assert classes(set(written(TRAIN, config))) == {"a": 4, "b": 4, "c": 4}
    assert classes(set(written(TEST, config))) == {"a": 2, "b": 2, "c": 2}


def test_the_records_hold_the_pixels_of_the_files_and_the_labels_of_their_folders(
    config: AsciiLetterConfig, files: Files, unseen_files: Files
) -> None:
    write_tar(files, TARBALL)
    main()
    found = written(TRAIN, config) | written(TEST, config) | written(UNSEEN, config)
    assert len(found) == 18 + len(unseen_files)
    for name, (pixels, label) in found.items():
        content = (files | unseen_files)[name]
        assert pixels == Image.open(io.BytesIO(content)).tobytes(), name
        assert label == "abc".index(name[0]), name


def test_all_unseen_letters_are_written_in_their_order(
    config: AsciiLetterConfig, files: Files, unseen_files: Files
) -> None:
    write_tar(files, TARBALL)
    main()
    assert list(written(UNSEEN, config)) == list(unseen_files)
    expected = set.union(*(test_records.files_of(split) for split in (TRAIN, TEST, UNSEEN)))
    assert set(contents(RECORDS)) == expected


@pytest.mark.parametrize("n_shards", [1, 3])
def test_what_the_stage_before_builds_is_accepted(
    project: Path, tiny_params: Params, capsys: pytest.CaptureFixture[str], n_shards: int
) -> None:
    write_params(project, tiny_params | {"n_shards": n_shards})
    build_tarball.main()
    main()
    config = AsciiLetterConfig.from_yaml()
    train, test, unseen = (written(path, config) for path in (TRAIN, TEST, UNSEEN))
    assert classes(set(train)) == dict.fromkeys(config.class_names, 4)
    assert classes(set(test)) == dict.fromkeys(config.class_names, 1)
    assert classes(set(unseen)) == dict.fromkeys(config.class_names, config.n_unseen_per_class)
    for part in (train, test, unseen):
        assert {(name[0], label) for name, (_, label) in part.items()} == {
            (name, label) for label, name in enumerate(config.class_names)
        }
    for folder in (TRAIN, TEST, UNSEEN):
        assert len(list(folder.glob("*.tfrecord"))) == n_shards
    printed = f"{RECORDS}: 104 train images, 26 test images, 104 unseen images\n"
    assert capsys.readouterr().out.endswith(printed)


def test_too_few_images_of_a_class_are_refused_with_the_class(
    config: AsciiLetterConfig, files: Files
) -> None:
    for number in range(3):
        del files[f"b/{number}.png"]
    write_tar(files, TARBALL)
    assert refusal() == f"{TARBALL}: 5 images of the class b, the params ask for 4 + 2"


def test_a_class_without_a_folder_is_refused(config: AsciiLetterConfig, files: Files) -> None:
    write_tar({name: content for name, content in files.items() if name[0] != "c"}, TARBALL)
    assert refusal().startswith(f"{TARBALL}: 0 images of the class c")


@pytest.mark.parametrize("key", ["n_train_samples", "n_test_samples"])
def test_a_number_of_samples_that_the_classes_cannot_share_is_refused(
    config: AsciiLetterConfig, project: Path, tiny_params: Params, files: Files, key: str
) -> None:
    write_tar(files, TARBALL)
    tiny_params["ascii_letter"][key] += 1
    write_params(project, tiny_params)
    message = refusal()
    assert message.startswith("params.yaml: ascii_letter: ")
    assert key in message
    assert "multiples of n_classes (3)" in message


@pytest.mark.parametrize("tarball", [TARBALL, UNSEEN_TARBALL], ids=lambda path: path.name)
@pytest.mark.parametrize(
    "harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")], ids=["gone", "empty"]
)
def test_a_tarball_that_is_missing_or_empty_is_refused(
    config: AsciiLetterConfig, files: Files, tarball: Path, harm: Callable[[Path], Any]
) -> None:
    write_tar(files, TARBALL)
    harm(tarball)
    assert refusal().startswith(f"{tarball}: cannot be read as a tarball: ")


@pytest.mark.parametrize("tarball", [TARBALL, UNSEEN_TARBALL], ids=lambda path: path.name)
def test_a_tarball_that_is_cut_off_is_refused(
    config: AsciiLetterConfig, files: Files, tarball: Path
) -> None:
    """Even where what is left of it would be enough for the splits: they would be others."""
    write_tar(files, TARBALL)
    member = 1024  # a header and the one block of a small image
    kept = member * (22 if tarball == TARBALL else 2)
    tarball.write_bytes(tarball.read_bytes()[:kept])
    assert refusal().startswith(f"{tarball}: ")


@pytest.mark.parametrize("name", ["letters", "unseen"])
def test_a_tarball_of_any_shard_that_is_missing_is_refused(
    project: Path, tiny_params: Params, name: str
) -> None:
    write_params(project, tiny_params | {"n_shards": 3})
    build_tarball.main()
    missing = shard_paths(RAW / name, ".tar", 3)[1]
    missing.unlink()
    assert str(missing) in refusal()


def test_the_same_image_in_train_and_test_is_refused_and_no_file_is_left(
    config: AsciiLetterConfig, files: Files
) -> None:
    train, test = split(write_tar(files, TARBALL), config)
    one, other = min(train), max(test)
    write_tar(files | {other: files[one]}, TARBALL)
    message = refusal()
    for word in (one, other, "split train", "split test"):
        assert word in message


def test_an_unseen_letter_that_was_seen_is_refused(
    config: AsciiLetterConfig, files: Files, unseen_files: Files
) -> None:
    train, _ = split(write_tar(files, TARBALL), config)
    one = min(train)
    write_tar(unseen_files | {"c/77.png": files[one]}, UNSEEN_TARBALL)
    message = refusal()
    for word in (one, "c/77.png", "split train", "split unseen"):
        assert word in message


def test_a_refused_tarball_leaves_the_old_records(config: AsciiLetterConfig, files: Files) -> None:
    tarball = write_tar(files, TARBALL)
    main()
    _, test = split(tarball, config)
    write_tar(files | {max(test): b"not an image"}, TARBALL)
    assert refusal().startswith(f"{max(test)}: cannot be read as an image")


def test_the_stage_writes_the_same_bytes_twice(config: AsciiLetterConfig, files: Files) -> None:
    write_tar(files, TARBALL)
    main()
    before = contents(Path())
    main()
    assert contents(Path()) == before
