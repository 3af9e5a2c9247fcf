"""MNIST: reading its IDX files, drawing examples, and stage write_tfrecords of the digits."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from letterpress.core.errors import PipelineError
from letterpress.mnist.config import MnistConfig
from letterpress.mnist.examples import SPLITS, draw_examples
from letterpress.mnist.idx import FILES, read_digits, read_idx
from letterpress.records.example import Example
from letterpress.records.read import load_batches
from stages import write_tfrecords
from tests.conftest import write_digits
from tests.core.test_files import contents

RAW, RECORDS = Path("data/mnist/raw"), Path("data/mnist/tfrecords")
IMAGES = bytes(range(2 * 3 * 4))
IMAGES_FILE = struct.pack(">IIII", 0x803, 2, 3, 4) + IMAGES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "images"


def test_values_have_the_shape_that_the_file_states(path: Path) -> None:
    path.write_bytes(IMAGES_FILE)
    images = read_idx(path, 3)
    assert images.shape == (2, 3, 4)
    assert images.dtype == np.uint8
    assert images.tobytes() == IMAGES
    path.write_bytes(struct.pack(">II", 0x801, 3) + b"\x07\x00\xff")
    assert read_idx(path, 1).tolist() == [7, 0, 255]
    path.write_bytes(struct.pack(">IIII", 0x803, 0, 28, 28))
    assert read_idx(path, 3).shape == (0, 28, 28)


DAMAGED = [
    (b"", "not an IDX file of 3 dimensions"),
    (b"\x1f\x8b" + IMAGES_FILE[2:], "(got '1f8b0803'"),  # still gzipped
    (struct.pack(">I", 0xD03) + IMAGES_FILE[4:], "not an IDX file"),  # floats
    (struct.pack("<I", 0x803) + IMAGES_FILE[4:], "not an IDX file"),  # the other byte order
    (IMAGES_FILE[:15], "not an IDX file"),
    (IMAGES_FILE[:16], "expected 24 bytes of values, as its header states (got 0)"),
    (IMAGES_FILE + b"\x00", "(got 25)"),
    # 2**64 would wrap around to 0, the number of bytes in the file.
    (struct.pack(">IIII", 0x803, 2**31, 2**31, 4), f"expected {2**64} bytes"),
]


def test_a_damaged_file_or_one_of_another_kind_is_refused(path: Path) -> None:
    for content, fragment in DAMAGED:
        path.write_bytes(content)
        with pytest.raises(PipelineError, match=f"^{path}: .*{re.escape(fragment)}"):
            read_idx(path, 3)


def test_missing_files_and_labels_are_errors(tmp_path: Path) -> None:
    write_digits(tmp_path, 20, 6)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(struct.pack(">II", 0x801, 19) + labels.read_bytes()[8:-1])
    with pytest.raises(PipelineError, match="got 19 labels and 20 images"):
        read_digits(tmp_path, "train")
    for name in reversed(FILES):
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError, match=name):
            read_digits(tmp_path, name.split("-")[0])


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    write_digits(tmp_path / "digits", 50, 20)
    return tmp_path / "digits"


CONFIG = MnistConfig(n_train_samples=30, n_validation_samples=20, n_test_samples=20)


def draw(folder: Path, split: str, config: MnistConfig = CONFIG) -> list[Example]:
    """The examples of all shards."""
    n, n_shards = getattr(config, f"n_{split}_samples"), config.n_shards
    n += config.n_none(n)
    shards = [list(draw_examples(folder, split, config, i)) for i in range(n_shards)]
    assert {len(shard) for shard in shards} <= {n // n_shards, n // n_shards + 1}
    return [example for shard in shards for example in shard]


def indices(examples: list[Example]) -> list[int]:
    return [int(example.filename.partition("/")[2]) for example in examples]


def test_all_images_are_drawn_in_their_order(digits: Path) -> None:
    for split, source, n in (("train", "train", 50), ("test", "t10k", 20)):
        images, labels = read_digits(digits, source)
        assert labels.tolist() == [i % 10 for i in range(n)]
        assert [int(image[4:, 10].argmax()) // 2 for image in images] == labels.tolist()  # bars
        examples = draw(digits, split, CONFIG.replace(n_train_samples=50, n_validation_samples=0))
        assert [example.filename for example in examples] == [f"{source}/{i:05d}" for i in range(n)]
        assert [example.label for example in examples] == labels.tolist()
        np.testing.assert_array_equal([example.image for example in examples], images[..., None])


def test_training_and_validation_are_drawn_at_random_by_the_data_seed_in_any_shards(
    digits: Path,
) -> None:
    """They share no image, and each has as many of a class as its share of the images."""
    images, labels = read_digits(digits, "train")
    drawn = [draw(digits, split) for split in ("train", "validation")]
    found = [indices(examples) for examples in drawn]
    assert sorted(found[0] + found[1]) == list(range(50))
    for examples, own, n in zip(drawn, found, (30, 20), strict=True):
        assert own == sorted(own)
        assert np.bincount(labels[own]).tolist() == [n // 10] * 10
        for example, index in zip(examples, own, strict=True):
            assert example.label == labels[index]
            np.testing.assert_array_equal(example.image[..., 0], images[index])
    assert indices(draw(digits, "train", CONFIG.replace(seed=2))) == found[0]
    assert indices(draw(digits, "train", CONFIG.replace(data_seed=2))) != found[0]
    for n_shards in (2, 3, 7, 30):
        assert indices(draw(digits, "train", CONFIG.replace(n_shards=n_shards))) == found[0]
    with pytest.raises(PipelineError, match=r"at least 51 train images \(got 50\)"):
        draw(digits, "validation", CONFIG.replace(n_train_samples=31))


def test_images_of_no_digit_are_made_from_digits_of_the_same_split(digits: Path) -> None:
    config = CONFIG.replace(none_share=0.25, n_classes=10)
    drawn = {split: draw(digits, split, config)[n:] for split, n in (("train", 30), ("test", 20))}
    assert {split: len(examples) for split, examples in drawn.items()} == {"train": 10, "test": 6}
    for split, examples in drawn.items():
        assert {example.label for example in examples} == {10}
        assert examples[0].filename == f"none/{split}-00000"
        images = np.array([example.image[..., 0] for example in examples])
        own = {example.image.tobytes() for example in draw(digits, split)}
        assert not own & {image.tobytes() for image in images}
        centers = [center_of_mass(image) for image in images]
        np.testing.assert_allclose(centers, 13.5, atol=2)
    again = draw(digits, "train", config.replace(n_shards=3))
    assert {e.filename: e.image.tobytes() for e in again if e.label == 10} == {
        e.filename: e.image.tobytes() for e in drawn["train"]
    }


def test_the_stage_writes_the_splits_or_keeps_the_older_records(project: Path) -> None:
    write_digits(project / RAW)
    write_tfrecords.main("mnist")
    config = MnistConfig.from_yaml()
    for split in SPLITS:
        batches = load_batches(RECORDS / split, config).as_numpy_iterator()
        found = [name.decode() for _, _, names in batches for name in names]
        assert found == [example.filename for example in draw(RAW, split, config)]
    labels = RAW / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    before = contents(project)
    with pytest.raises(PipelineError, match=f"^{labels}: expected "):
        write_tfrecords.main("mnist")
    assert contents(project) == before
