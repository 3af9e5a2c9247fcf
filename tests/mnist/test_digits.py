"""MNIST: reading its IDX files, drawing examples, and stage write_tfrecords of the digits."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from letterpress.core.errors import PipelineError
from letterpress.mnist.config import MnistConfig
from letterpress.mnist.examples import draw_examples
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


def draw(folder: Path, split: str, n: int, seed: int = 1, n_shards: int = 1) -> list[Example]:
    """The examples of all shards."""
    config = MnistConfig(seed=seed, n_shards=n_shards)
    shards = [list(draw_examples(folder, split, n, config, i)) for i in range(n_shards)]
    assert {len(shard) for shard in shards} <= {n // n_shards, n // n_shards + 1}
    return [example for shard in shards for example in shard]


def indices(examples: list[Example]) -> list[int]:
    return [int(example.filename.partition("/")[2]) for example in examples]


def test_a_whole_split_is_drawn_in_its_order(digits: Path) -> None:
    for split, n in (("train", 50), ("t10k", 20)):
        images, labels = read_digits(digits, split)
        assert labels.tolist() == [i % 10 for i in range(n)]
        assert [int(image[4:, 10].argmax()) // 2 for image in images] == labels.tolist()  # bars
        examples = draw(digits, split, n)
        assert [example.filename for example in examples] == [f"{split}/{i:05d}" for i in range(n)]
        assert [example.label for example in examples] == labels.tolist()
        np.testing.assert_array_equal([example.image for example in examples], images[..., None])


def test_a_part_of_a_split_is_drawn_at_random_by_the_seed_in_any_shards(digits: Path) -> None:
    examples = draw(digits, "train", 10)
    found = indices(examples)
    assert len(found) == 10
    assert found == sorted(set(found))
    assert found != list(range(10))
    images, labels = read_digits(digits, "train")
    for example, index in zip(examples, found, strict=True):
        assert example.label == labels[index]
        np.testing.assert_array_equal(example.image[..., 0], images[index])
    assert indices(draw(digits, "train", 10, seed=2)) != found
    for n_shards in (2, 3, 7, 30):
        assert indices(draw(digits, "train", 10, n_shards=n_shards)) == found
    with pytest.raises(PipelineError, match=r"at least 51 train images \(got 50\)"):
        draw(digits, "train", 51)


def test_the_stage_writes_both_splits_or_keeps_the_older_records(project: Path) -> None:
    write_digits(project / RAW)
    write_tfrecords.main("mnist")
    for name, split, n in (("train", "train", 200), ("test", "t10k", 60)):
        batches = load_batches(RECORDS / name, MnistConfig.from_yaml()).as_numpy_iterator()
        found = [name for _, _, names in batches for name in names]
        assert found == [f"{split}/{i:05d}".encode() for i in range(n)]
    labels = RAW / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    before = contents(project)
    with pytest.raises(PipelineError, match=f"^{labels}: expected "):
        write_tfrecords.main("mnist")
    assert contents(project) == before
