from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from stages.mnist.errors import PipelineError
from stages.mnist.idx import read_idx

IMAGES = bytes(range(2 * 3 * 4))
IMAGES_FILE = struct.pack(">IIII", 0x803, 2, 3, 4) + IMAGES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "images"


def test_images_have_the_shape_that_the_file_states(path: Path) -> None:
    path.write_bytes(IMAGES_FILE)
    images = read_idx(path, 3)
    assert images.shape == (2, 3, 4)
    assert images.dtype == np.uint8
    assert images.tobytes() == IMAGES


def test_labels_have_one_dimension(path: Path) -> None:
    path.write_bytes(struct.pack(">II", 0x801, 3) + b"\x07\x00\xff")
    assert read_idx(path, 1).tolist() == [7, 0, 255]


def test_a_file_of_no_images_is_read_as_such(path: Path) -> None:
    path.write_bytes(struct.pack(">IIII", 0x803, 0, 28, 28))
    assert read_idx(path, 3).shape == (0, 28, 28)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00",
        b"<!DOCTYPE html><html>not found</html>",
        b"\x1f\x8b" + IMAGES_FILE[2:],  # still gzipped
        struct.pack(">I", 0x801) + IMAGES_FILE[4:],  # labels
        struct.pack(">I", 0xD03) + IMAGES_FILE[4:],  # floats
        struct.pack("<I", 0x803) + IMAGES_FILE[4:],  # the other byte order
        IMAGES_FILE[:4],
        IMAGES_FILE[:15],
    ],
)
def test_another_kind_of_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=r"not an IDX file of 3 dimensions") as refused:
        read_idx(path, 3)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "held"),
    [
        (IMAGES_FILE[:16], 0),
        (IMAGES_FILE[:-1], 23),
        (IMAGES_FILE + b"\x00", 25),
    ],
)
def test_a_file_of_another_length_than_it_states_is_refused(
    path: Path, content: bytes, held: int
) -> None:
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=f"states 24 bytes of values and holds {held}"):
        read_idx(path, 3)


def test_a_size_beyond_64_bits_is_refused(path: Path) -> None:
    # 2**64 wraps around to 0, which is what the file holds
    path.write_bytes(struct.pack(">IIII", 0x803, 2**31, 2**31, 4))
    with pytest.raises(PipelineError, match=f"states {2**64} bytes"):
        read_idx(path, 3)
