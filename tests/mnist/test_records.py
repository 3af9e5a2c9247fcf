"""The record format: what writes it. A child subclasses TestMnistRecords with its own config."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import load_batches
from stages.mnist.engine import Job
from stages.mnist.errors import PipelineError
from stages.mnist.example import Example
from stages.mnist.records import Splits, write_shards, write_splits
from stages.mnist.shards import shard_paths, share
from tests.mnist.test_files import contents

N = 12


def draw(config: MnistConfig, n: int = N) -> list[Example]:
    """Images of noise, and the classes in turn."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, *config.image_shape), dtype=np.uint8)
    return [
        Example(image, i % config.n_classes, f"noise/{i:02d}.png") for i, image in enumerate(images)
    ]


def write(folder: Path, examples: Iterable[Example], config: MnistConfig) -> Path:
    """Writes examples as the only split of a folder, in one shard, and returns the split's folder."""
    write_splits(folder, {"noise": examples}, config)
    return folder / "noise"


def read_noise(config: MnistConfig, shard: int, files: tuple[Path, ...]) -> Splits:
    """A shard's share of n_train_samples examples."""
    own = share(config.n_train_samples, shard, config.n_shards)
    return {"noise": draw(config, config.n_train_samples)[own.start : own.stop]}


def write_noise(folder: Path, config: MnistConfig) -> Path:
    """Writes n_train_samples examples in n_shards shards, and returns the split's folder."""
    write_shards(folder, ("noise",), read_noise, [()] * config.n_shards, config)
    return folder / "noise"


def read_with_a_copy(config: MnistConfig, shard: int, files: tuple[Path, ...]) -> Splits:
    """The second shard's test image is a training image of the first."""
    examples = draw(config)
    if shard == 0:
        return {"train": examples[:3], "test": examples[3:6]}
    copy = examples[1]._replace(filename="copy.png")
    return {"train": examples[6:9], "test": [examples[9], copy]}


def read_with_a_wrong_label(config: MnistConfig, shard: int, files: tuple[Path, ...]) -> Splits:
    examples = draw(config)
    return {"noise": [examples[shard], examples[2]._replace(label=-shard)]}


def only_shard(path: Path) -> Path:
    """The file of a split that has one."""
    return shard_paths(path, ".tfrecord", 1)[0]


def files_of(path: Path, n_shards: int = 1) -> set[str]:
    """The names of the files of a split, below the folder that it stands in."""
    shards = shard_paths(path, ".tfrecord", n_shards)
    return {f"{path.name}/{file.name}" for file in (*shards, path / "lengths.json")}


def names(batches: Any) -> list[bytes]:
    return [name for _, _, names in batches.as_numpy_iterator() for name in names]


def edit_first_record(path: Path, edit: Callable[[Any], object]) -> None:
    """Writes a shard again, the first of its messages changed, with right checksums."""
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    message = tf.train.Example.FromString(records[0])
    edit(message.features.feature)
    records[0] = message.SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


class WithRecords:
    """What the tests of writing and of loading have in common."""

    config_class: ClassVar[type[MnistConfig]] = MnistConfig

    @pytest.fixture(autouse=True)
    def _jobs_run_in_this_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each process imports TensorFlow, for seconds; the pipeline's tests have several."""

        def map_jobs(function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[Any]:
            for job in jobs:
                yield function(*job.arguments, job.inputs, job.outputs)

        monkeypatch.setattr("stages.mnist.records.map_jobs", map_jobs)

    @pytest.fixture
    def config(self, project: Path) -> MnistConfig:
        config = self.config_class.from_yaml(project / "params.yaml")
        return replace(config, n_train_samples=N, batch_size=5, shuffle_buffer=N)

    @pytest.fixture
    def path(self, project: Path, config: MnistConfig) -> Path:
        """A split of N records in one shard."""
        return write(project / "data", draw(config), config)


class TestMnistRecords(WithRecords):
    def test_any_program_can_read_the_documented_fields(
        self, path: Path, config: MnistConfig
    ) -> None:
        text, number = tf.io.FixedLenFeature((), tf.string), tf.io.FixedLenFeature((), tf.int64)
        fields = {
            "image/encoded": text,
            "image/format": text,
            "image/height": number,
            "image/width": number,
            "image/channels": number,
            "image/filename": text,
            "image/class/label": number,
            "image/class/text": text,
        }
        for record, example in zip(
            tf.data.TFRecordDataset(str(only_shard(path))), draw(config), strict=True
        ):
            e = tf.io.parse_single_example(record, fields)
            shape = (e["image/height"], e["image/width"], e["image/channels"])
            image = tf.reshape(tf.io.decode_raw(e["image/encoded"], tf.uint8), shape)
            np.testing.assert_array_equal(image.numpy(), example.image)
            assert e["image/format"].numpy() == b"raw"
            assert e["image/filename"].numpy().decode() == example.filename
            assert e["image/class/label"].numpy() == example.label
            text_of_class = e["image/class/text"].numpy().decode()
            assert text_of_class == config.class_names[example.label]

    def test_the_same_examples_are_the_same_bytes(self, path: Path, config: MnistConfig) -> None:
        before = contents(path)
        assert contents(write(path.parent, draw(config), config)) == before

    def test_examples_may_come_from_a_generator(self, path: Path, config: MnistConfig) -> None:
        before = contents(path)
        streamed = (example for example in draw(config))
        assert contents(write(path.parent, streamed, config)) == before

    def test_each_split_is_a_folder_of_its_own_examples(
        self, project: Path, config: MnistConfig
    ) -> None:
        folder, examples = project / "data" / "tfrecords", draw(config)
        splits = {"train": examples[:4], "test": examples[4:]}
        write_splits(folder, splits, config)
        assert set(contents(folder)) == files_of(folder / "train") | files_of(folder / "test")
        for split, part in splits.items():
            found = names(load_batches(folder / split, config))
            assert found == [example.filename.encode() for example in part]

    def test_a_split_that_is_no_longer_written_does_not_stay(
        self, path: Path, config: MnistConfig
    ) -> None:
        write_splits(path.parent, {"other": draw(config)}, config)
        assert set(contents(path.parent)) == files_of(path.parent / "other")

    def test_the_same_image_in_two_splits_is_refused_and_no_file_is_left(
        self, project: Path, config: MnistConfig
    ) -> None:
        examples = draw(config)
        copy = examples[1]._replace(filename="copy.png")
        splits = {"train": examples[:6], "test": [*examples[6:], copy]}
        before = contents(project)
        with pytest.raises(PipelineError) as refused:
            write_splits(project / "data", splits, config)
        assert contents(project) == before
        for word in ("copy.png", "split test", "noise/01.png", "split train"):
            assert word in str(refused.value)

    def test_the_same_image_twice_in_one_split_is_accepted(
        self, project: Path, config: MnistConfig
    ) -> None:
        example = draw(config)[0]
        twice = [example, example._replace(filename="copy.png")]
        path = write(project / "data", twice, config)
        assert names(load_batches(path, config)) == [b"noise/00.png", b"copy.png"]

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (lambda e: e._replace(image=e.image[1:]), "the image is uint8"),
            (lambda e: e._replace(image=e.image[:, 1:]), "the image is uint8"),
            (lambda e: e._replace(image=e.image[..., 0]), "the image is uint8"),
            (lambda e: e._replace(image=np.repeat(e.image, 2, axis=2)), "the image is uint8"),
            (lambda e: e._replace(image=e.image / np.float32(255)), "the image is float32"),
            (lambda e: e._replace(image=e.image.astype(np.int64)), "the image is int64"),
            (lambda e: e._replace(image=e.image > 127), "the image is bool"),
            (lambda e: e._replace(label=-1), "the label is -1"),
        ],
        ids=["height", "width", "flat", "channels", "float32", "int64", "bool", "label"],
    )
    def test_a_wrong_example_is_refused_and_older_records_stay(
        self, path: Path, project: Path, config: MnistConfig, damage: Any, reason: str
    ) -> None:
        examples = draw(config)
        splits = {"noise": examples[:9], "test": [*examples[9:11], damage(examples[11])]}
        before = contents(project)
        with pytest.raises(PipelineError) as refused:
            write_splits(path.parent, splits, config)
        assert contents(project) == before
        assert str(refused.value).startswith(f"noise/11.png: {reason}")

    def test_a_label_beyond_the_last_class_is_refused(
        self, project: Path, config: MnistConfig
    ) -> None:
        n = config.n_classes
        example = draw(config)[0]._replace(label=n)
        reason = f"the label is {n}, with {n} classes it must be 0 to {n - 1}"
        with pytest.raises(PipelineError, match=reason):
            write(project / "data", [example], config)


class TestShards(WithRecords):
    """What does not depend on the images."""

    @pytest.mark.parametrize("n_shards", [2, 3, 5, 12, 20])
    def test_shards_hold_the_same_examples_as_one_and_their_lengths(
        self, path: Path, project: Path, config: MnistConfig, n_shards: int
    ) -> None:
        """With 20, some are empty."""
        folder = write_noise(project / "shards", replace(config, n_shards=n_shards))
        assert set(contents(folder.parent)) == files_of(folder, n_shards)
        shards = shard_paths(folder, ".tfrecord", n_shards)
        records = [list(tf.data.TFRecordDataset(str(s)).as_numpy_iterator()) for s in shards]
        whole = tf.data.TFRecordDataset(str(only_shard(path))).as_numpy_iterator()
        assert [record for own in records for record in own] == list(whole)
        lengths = json.loads((folder / "lengths.json").read_text(encoding="utf-8"))
        assert list(lengths.items()) == [
            (shard.name, len(own)) for shard, own in zip(shards, records, strict=True)
        ]
        assert set(map(len, records)) == {N // n_shards, -(-N // n_shards)}

    def test_shards_are_the_same_bytes_twice(self, project: Path, config: MnistConfig) -> None:
        in_shards = replace(config, n_shards=3)
        before = contents(write_noise(project / "data", in_shards))
        assert contents(write_noise(project / "data", in_shards)) == before

    def test_another_number_of_shards_leaves_no_file_of_the_older(
        self, project: Path, config: MnistConfig
    ) -> None:
        for n_shards in (3, 2):
            folder = write_noise(project / "data", replace(config, n_shards=n_shards))
            assert set(contents(folder.parent)) == files_of(folder, n_shards)

    def test_the_same_image_in_two_splits_is_refused_in_different_shards_too(
        self, project: Path, config: MnistConfig
    ) -> None:
        before = contents(project)
        with pytest.raises(PipelineError) as refused:
            write_shards(project / "data", ("train", "test"), read_with_a_copy, [(), ()], config)
        assert contents(project) == before
        assert str(refused.value) == (
            "copy.png of the split test and noise/01.png of the split train are the same image: "
            "leave one of them out"
        )

    def test_a_wrong_example_of_any_shard_is_refused_and_older_records_stay(
        self, path: Path, project: Path, config: MnistConfig
    ) -> None:
        before = contents(project)
        with pytest.raises(PipelineError, match=r"noise/02\.png: the label is -1") as refused:
            write_shards(path.parent, ("noise",), read_with_a_wrong_label, [(), ()], config)
        assert "\n" not in str(refused.value)
        assert contents(project) == before

    def test_the_number_of_examples_is_told(
        self, project: Path, config: MnistConfig, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_noise(project / "data", replace(config, n_shards=3))
        assert capsys.readouterr().out == f"{project / 'data'}: {N} noise images\n"


def test_a_full_disk_is_an_error_of_the_kind_that_a_stage_expects(project: Path) -> None:
    """A limit on the size of a file stands in for the end of the disk."""
    resource = pytest.importorskip("resource")
    config = MnistConfig.from_yaml(project / "params.yaml")
    before = contents(project)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises((PipelineError, OSError)):
            write(project / "data", draw(config, 200), config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(project) == before
