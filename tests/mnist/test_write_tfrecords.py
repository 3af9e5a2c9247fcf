from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.mnist import write_tfrecords as stage
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import load_batches
from stages.mnist.errors import PipelineError
from stages.mnist.example import Example
from stages.mnist.original import read_examples
from stages.mnist.write_tfrecords import draw_examples
from tests.conftest import ROOT, Params, write_digits, write_params
from tests.mnist.test_files import contents


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    write_digits(tmp_path / "digits", 50, 20)
    return tmp_path / "digits"


CONFIG = MnistConfig.from_yaml(ROOT / "params.yaml")


def drawn(folder: Path, split: str, n: int, seed: int = 1) -> list[Example]:
    """The only shard."""
    return list(draw_examples(folder, split, n, replace(CONFIG, seed=seed), 0))


def indices(examples: list[Example]) -> list[int]:
    return [int(example.filename.partition("/")[2]) for example in examples]


@pytest.mark.parametrize(("split", "n"), [("train", 50), ("t10k", 20)])
def test_a_whole_split_is_drawn_in_its_order(digits: Path, split: str, n: int) -> None:
    images, labels = read_examples(digits, split)
    examples = drawn(digits, split, n)
    assert [example.filename for example in examples] == [f"{split}/{i:05d}" for i in range(n)]
    assert [example.label for example in examples] == labels.tolist()
    np.testing.assert_array_equal([example.image[..., 0] for example in examples], images)
    assert {example.image.shape for example in examples} == {(28, 28, 1)}


def test_some_of_a_split_are_drawn_without_repeats_in_its_order(digits: Path) -> None:
    examples = drawn(digits, "train", 10)
    found = indices(examples)
    assert len(found) == 10
    assert found == sorted(set(found))
    assert found != list(range(10))  # at random, not the first
    images, labels = read_examples(digits, "train")
    for example, index in zip(examples, found, strict=True):
        assert example.label == labels[index]
        np.testing.assert_array_equal(example.image[..., 0], images[index])


def test_the_seed_decides_which_are_drawn(digits: Path) -> None:
    one, again, other = (indices(drawn(digits, "train", 10, seed)) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_more_than_a_split_has_are_refused(digits: Path) -> None:
    with pytest.raises(PipelineError, match="50 train images, the params ask for 51"):
        drawn(digits, "train", 51)


@pytest.mark.parametrize("n_shards", [2, 3, 7, 30])
def test_shards_have_the_same_examples_as_one_in_their_order(digits: Path, n_shards: int) -> None:
    config = replace(CONFIG, seed=1, n_shards=n_shards)
    shards = [indices(list(draw_examples(digits, "train", 20, config, i))) for i in range(n_shards)]
    assert [index for shard in shards for index in shard] == indices(drawn(digits, "train", 20))
    assert {len(shard) for shard in shards} <= {20 // n_shards, 20 // n_shards + 1}


@pytest.fixture
def raw(project: Path) -> Path:
    write_digits(project / stage.RAW)
    return project / stage.RAW


def test_the_stage_writes_both_splits(project: Path, raw: Path) -> None:
    stage.main()
    config = MnistConfig.from_yaml()
    for name, split, n in (("train", "train", 200), ("test", "t10k", 60)):
        batches = load_batches(stage.RECORDS / name, config).as_numpy_iterator()
        assert [name for _, _, names in batches for name in names] == [
            f"{split}/{i:05d}".encode() for i in range(n)
        ]


def test_the_stage_writes_the_same_examples_in_shards(
    project: Path, tiny_params: Params, raw: Path
) -> None:
    def written(split: str) -> list[bytes]:
        batches = load_batches(stage.RECORDS / split, MnistConfig.from_yaml())
        return [name for _, _, names in batches.as_numpy_iterator() for name in names]

    stage.main()
    whole = {split: written(split) for split in ("train", "test")}
    write_params(project, tiny_params | {"n_shards": 3})
    stage.main()
    assert {split: written(split) for split in ("train", "test")} == whole
    lengths = json.loads((stage.RECORDS / "train" / "lengths.json").read_text(encoding="utf-8"))
    assert lengths == {
        "train-00000-of-00003.tfrecord": 67,
        "train-00001-of-00003.tfrecord": 67,
        "train-00002-of-00003.tfrecord": 66,
    }


@pytest.mark.parametrize("n_shards", [1, 3])
def test_the_stage_writes_the_same_bytes_twice(
    project: Path, tiny_params: Params, raw: Path, n_shards: int
) -> None:
    write_params(project, tiny_params | {"n_shards": n_shards})
    stage.main()
    before = contents(project)
    stage.main()
    assert contents(project) == before


def test_the_command_fails_in_one_line_and_leaves_older_records(project: Path, raw: Path) -> None:
    labels = raw / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    (stage.RECORDS / "train").mkdir(parents=True)
    (stage.RECORDS / "train" / "lengths.json").write_bytes(b"older")
    before = contents(project)
    command = subprocess.run(
        [sys.executable, "-m", "stages.mnist.write_tfrecords"],
        check=False,
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (command.returncode, command.stdout) == (1, "")
    assert command.stderr.startswith("error: ")
    assert command.stderr.count("\n") == 1
    assert labels.name in command.stderr
    assert contents(project) == before
