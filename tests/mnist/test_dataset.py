"""The record format. A child subclasses TestMnistRecords with its own config."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import Example, load_batches, reading, write_splits
from stages.mnist.errors import PipelineError
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
    """Writes examples as the only split of a folder, and returns its file."""
    write_splits(folder, {"noise": examples}, config)
    return folder / "noise.tfrecord"


def read(path: Path, config: MnistConfig, shuffled: bool = False) -> list[Any]:
    with reading(path):
        return list(load_batches(path, config, shuffled).as_numpy_iterator())


def names(batches: Any) -> list[bytes]:
    return [name for _, _, names in batches.as_numpy_iterator() for name in names]


def refusal(path: Path, config: MnistConfig, shuffled: bool = False) -> str:
    """What is said of a damaged file, in one line that begins with its path."""
    with pytest.raises(PipelineError) as refused:
        read(path, config, shuffled)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def edit_first_record(path: Path, edit: Callable[[Any], object]) -> None:
    """Writes the file again, the first of its messages changed, with right checksums."""
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    message = tf.train.Example.FromString(records[0])
    edit(message.features.feature)
    records[0] = message.SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


class TestMnistRecords:
    config_class: ClassVar[type[MnistConfig]] = MnistConfig

    @pytest.fixture
    def config(self, project: Path) -> MnistConfig:
        config = self.config_class.from_yaml(project / "params.yaml")
        return replace(config, n_train_samples=N, batch_size=5, shuffle_buffer=N)

    @pytest.fixture
    def path(self, project: Path, config: MnistConfig) -> Path:
        """A file of N records."""
        return write(project / "data", draw(config), config)

    def test_the_pixels_come_back_exactly(self, path: Path, config: MnistConfig) -> None:
        images = np.concatenate([images for images, _, _ in read(path, config)])
        assert images.dtype == np.float32
        expected = np.stack([example.image for example in draw(config)])
        np.testing.assert_array_equal((images * 255).round().astype(np.uint8), expected)
        assert images.min() >= 0
        assert images.max() <= 1

    def test_white_is_1_and_black_is_0(self, project: Path, config: MnistConfig) -> None:
        images = [np.full(config.image_shape, value, np.uint8) for value in (0, 255)]
        path = write(project / "data", [Example(image, 0, "a") for image in images], config)
        ((black, white), _, _) = read(path, config)[0]
        assert (black == 0).all()
        assert (white == 1).all()

    def test_labels_and_names_stay_with_their_images_in_order(
        self, path: Path, config: MnistConfig
    ) -> None:
        batches = read(path, config)
        labels = np.concatenate([labels for _, labels, _ in batches])
        filenames = np.concatenate([names for _, _, names in batches])
        assert labels.dtype == np.int64
        expected = [(example.label, example.filename) for example in draw(config)]
        found = [(int(a), b.decode()) for a, b in zip(labels, filenames, strict=True)]
        assert found == expected

    def test_the_last_and_smaller_batch_is_kept(self, path: Path, config: MnistConfig) -> None:
        shapes = [images.shape for images, _, _ in read(path, config)]
        assert shapes == [(n, *config.image_shape) for n in (5, 5, 2)]

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
        for record, example in zip(tf.data.TFRecordDataset(str(path)), draw(config), strict=True):
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
        before = path.read_bytes()
        assert write(path.parent, draw(config), config).read_bytes() == before

    def test_examples_may_come_from_a_generator(self, path: Path, config: MnistConfig) -> None:
        before = path.read_bytes()
        streamed = (example for example in draw(config))
        assert write(path.parent, streamed, config).read_bytes() == before

    def test_each_split_is_a_file_of_its_own_examples(
        self, project: Path, config: MnistConfig
    ) -> None:
        folder, examples = project / "data" / "tfrecords", draw(config)
        splits = {"train": examples[:4], "test": examples[4:]}
        write_splits(folder, splits, config)
        assert set(contents(folder)) == {"train.tfrecord", "test.tfrecord"}
        for split, part in splits.items():
            found = names(load_batches(folder / f"{split}.tfrecord", config))
            assert found == [example.filename.encode() for example in part]

    def test_a_split_that_is_no_longer_written_does_not_stay(
        self, path: Path, config: MnistConfig
    ) -> None:
        write_splits(path.parent, {"other": draw(config)}, config)
        assert set(contents(path.parent)) == {"other.tfrecord"}

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

    def test_shuffling_loses_no_example_and_doubles_none(
        self, path: Path, config: MnistConfig
    ) -> None:
        found = names(load_batches(path, config, shuffled=True))
        expected = [example.filename.encode() for example in draw(config)]
        assert found != expected
        assert sorted(found) == expected

    def test_shuffled_passes_differ_from_each_other(self, path: Path, config: MnistConfig) -> None:
        batches = load_batches(path, config, shuffled=True)
        assert names(batches) != names(batches)

    def test_shuffled_passes_are_the_same_in_each_run(
        self, path: Path, config: MnistConfig
    ) -> None:
        one, other = (load_batches(path, config, shuffled=True) for _ in range(2))
        assert [names(one), names(one)] == [names(other), names(other)]

    def test_another_seed_shuffles_otherwise(self, path: Path, config: MnistConfig) -> None:
        other = replace(config, seed=config.seed + 1)
        assert names(load_batches(path, config, True)) != names(load_batches(path, other, True))

    def test_shuffled_images_keep_their_labels(self, path: Path, config: MnistConfig) -> None:
        examples = {example.filename.encode(): example for example in draw(config)}
        for images, labels, filenames in read(path, config, shuffled=True):
            for image, label, filename in zip(images, labels, filenames, strict=True):
                assert label == examples[filename].label
                np.testing.assert_allclose(image * 255, examples[filename].image, atol=1e-3)

    def test_a_missing_file_is_named_with_its_remedy(
        self, project: Path, config: MnistConfig
    ) -> None:
        path = project / "missing.tfrecord"
        with pytest.raises(PipelineError, match=r"missing\.tfrecord is missing: run `dvc repro`"):
            load_batches(path, config)

    @pytest.mark.parametrize("position", [0, 9, 100, -1])
    def test_a_bit_that_flipped_is_noticed(
        self, path: Path, config: MnistConfig, position: int
    ) -> None:
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)
        refusal(path, config)

    @pytest.mark.parametrize("kept", [0.01, 0.45, 0.999])
    def test_a_file_that_was_cut_off_is_noticed(
        self, path: Path, config: MnistConfig, kept: float
    ) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        refusal(path, config)

    def test_a_file_of_another_kind_is_noticed(self, path: Path, config: MnistConfig) -> None:
        path.write_bytes(b"<!DOCTYPE html><html>Not found</html>")
        refusal(path, config)

    @pytest.mark.parametrize("more", [-1, 1])
    def test_another_number_of_examples_is_noticed_in_training(
        self, path: Path, config: MnistConfig, more: int
    ) -> None:
        refusal(path, replace(config, n_train_samples=N + more), shuffled=True)

    def test_an_empty_file_is_noticed_in_training(self, path: Path, config: MnistConfig) -> None:
        path.write_bytes(b"")
        refusal(path, config, shuffled=True)

    @pytest.mark.parametrize(
        "change",
        [
            lambda c: replace(c, image_height=c.image_height + 1),
            lambda c: replace(c, image_width=c.image_width - 1),
            lambda c: replace(c, image_height=2 * c.image_height, image_width=c.image_width // 2),
            lambda c: replace(c, n_channels=3),
        ],
        ids=["height", "width", "as many pixels", "channels"],
    )
    def test_images_of_another_size_are_noticed(
        self, path: Path, config: MnistConfig, change: Callable[[MnistConfig], MnistConfig]
    ) -> None:
        assert "an image of another size" in refusal(path, change(config))

    def test_a_label_of_another_class_is_noticed(self, project: Path, config: MnistConfig) -> None:
        last = draw(config)[0]._replace(label=config.n_classes - 1)
        path = write(project / "data", [last], config)
        assert read(path, config)[0][1] == [config.n_classes - 1]
        fewer = replace(config, n_classes=config.n_classes - 1)
        assert "a label of another class" in refusal(path, fewer)

    @pytest.mark.parametrize(
        "edit",
        [
            lambda e: e["image/class/label"].int64_list.value.__setitem__(0, -1),
            lambda e: e["image/class/label"].int64_list.value.append(1),
            lambda e: e["image/class/label"].bytes_list.value.append(b"1"),
            lambda e: e.pop("image/class/label"),
            lambda e: e.pop("image/filename"),
            lambda e: e.pop("image/height"),
            lambda e: e.pop("image/encoded"),
            lambda e: e["image/encoded"].bytes_list.value.__setitem__(0, b""),
            lambda e: e["image/encoded"].bytes_list.value.__setitem__(0, b"\x89PNG"),
        ],
        ids=[
            "label below 0",
            "two labels",
            "label as text",
            "no label",
            "no file name",
            "no height",
            "no image",
            "empty image",
            "image of a codec",
        ],
    )
    def test_a_record_of_another_program_is_noticed(
        self, path: Path, config: MnistConfig, edit: Callable[[Any], object]
    ) -> None:
        edit_first_record(path, edit)
        refusal(path, config)

    def test_records_that_all_have_too_few_pixels_are_noticed(
        self, project: Path, config: MnistConfig
    ) -> None:
        """Two halves of an image are not read as one image."""
        path = write(project / "data", draw(config, 1), config)

        def halve(features: Any) -> None:
            pixels = features["image/encoded"].bytes_list.value
            pixels[0] = pixels[0][: len(pixels[0]) // 2]

        edit_first_record(path, halve)
        path.write_bytes(path.read_bytes() * 2)
        refusal(path, config)


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


def test_what_tensorflow_says_in_several_lines_becomes_one(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as refused, reading(tmp_path / "a"):
        raise tf.errors.DataLossError(None, None, "corrupted\n\tat 7")
    assert str(refused.value).startswith(f"{tmp_path / 'a'}: ")
    assert "(corrupted at 7)" in str(refused.value)


def test_another_error_while_reading_is_let_through(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), reading(tmp_path):
        raise ZeroDivisionError
