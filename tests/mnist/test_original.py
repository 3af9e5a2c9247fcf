from __future__ import annotations

import struct
from pathlib import Path

import pytest

from stages.mnist.errors import PipelineError
from stages.mnist.original import FILES, read_examples
from tests.conftest import write_digits


@pytest.mark.parametrize(("split", "n"), [("train", 20), ("t10k", 6)])
def test_a_split_is_its_images_with_their_labels(tmp_path: Path, split: str, n: int) -> None:
    write_digits(tmp_path, 20, 6)
    images, labels = read_examples(tmp_path, split)
    assert images.shape == (n, 28, 28)
    assert labels.tolist() == [i % 10 for i in range(n)]
    bars = [int(image[4:, 10].argmax()) // 2 for image in images]  # where conftest draws them
    assert bars == labels.tolist()


def test_counts_that_disagree_are_refused(tmp_path: Path) -> None:
    write_digits(tmp_path, 20, 6)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(struct.pack(">II", 0x801, 19) + labels.read_bytes()[8:-1])
    with pytest.raises(PipelineError, match="20 train images but 19 labels"):
        read_examples(tmp_path, "train")


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    write_digits(tmp_path, 20, 6)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1])
    with pytest.raises(PipelineError, match=name):
        read_examples(tmp_path, name.split("-")[0])
