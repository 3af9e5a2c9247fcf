"""Loading the records. A child subclasses TestMnistBatches with its own config."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import WHOLE, Part, load_batches, read_lengths, reading, stream_batches
from stages.mnist.errors import PipelineError
from stages.mnist.example import Example
from stages.mnist.shards import shard_paths, share
from tests.mnist.test_records import (
    N,
    WithRecords,
    draw,
    edit_first_record,
    only_shard,
    write,
    write_noise,
)


def read(path: Path, config: MnistConfig) -> list[Any]:
    with reading(path):
        return list(load_batches(path, config).as_numpy_iterator())


def stream(path: Path, config: MnistConfig, n_batches: int, part: Part = WHOLE) -> list[Any]:
    """The first batches of the training stream."""
    with reading(path):
        return list(stream_batches(path, config, part).take(n_batches).as_numpy_iterator())


def streamed_names(path: Path, config: MnistConfig, n_batches: int) -> list[bytes]:
    return [name for _, _, names in stream(path, config, n_batches) for name in names]


def refusal(path: Path, config: MnistConfig, read: Callable[..., Any] = read) -> str:
    """What is said of a damaged split, in one line that begins with its folder or a file of it."""
    with pytest.raises(PipelineError) as refused:
        read(path, config)
    message = str(refused.value)
    assert message.startswith(str(path))
    assert message.endswith(("run `dvc repro`", "run `dvc repro`, it makes what a stage needs"))
    assert "\n" not in message
    return message


def train(path: Path, config: MnistConfig) -> list[Any]:
    """Two passes of the training stream."""
    return stream(path, config, 2 * N // config.batch_size + 1)


def set_lengths(path: Path, lengths: object) -> None:
    (path / "lengths.json").write_text(json.dumps(lengths), encoding="utf-8")


EXPECTED = [f"noise/{i:02d}.png".encode() for i in range(N)]


class TestMnistBatches(WithRecords):
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

    def test_streamed_images_keep_their_labels(self, path: Path, config: MnistConfig) -> None:
        examples = {example.filename.encode(): example for example in draw(config)}
        for images, labels, filenames in train(path, config):
            for image, label, filename in zip(images, labels, filenames, strict=True):
                assert label == examples[filename].label
                np.testing.assert_allclose(image * 255, examples[filename].image, atol=1e-3)

    @pytest.mark.parametrize("more", [-1, 1])
    def test_another_number_of_examples_is_noticed_in_training(
        self, path: Path, config: MnistConfig, more: int
    ) -> None:
        other = replace(config, n_train_samples=N + more)
        with pytest.raises(PipelineError) as refused:  # before the first batch
            stream_batches(path, other)
        assert str(refused.value) == (
            f"{path}: {N} examples, the params say {N + more}: "
            "delete the folder and run `dvc repro`"
        )

    @pytest.mark.parametrize("position", [0, 9, 100, -1])
    def test_a_bit_that_flipped_is_noticed(
        self, path: Path, config: MnistConfig, position: int
    ) -> None:
        shard = only_shard(path)
        content = bytearray(shard.read_bytes())
        content[position] ^= 1
        shard.write_bytes(content)
        refusal(path, config)

    @pytest.mark.parametrize("kept", [0.01, 0.45, 0.999])
    def test_a_file_that_was_cut_off_is_noticed(
        self, path: Path, config: MnistConfig, kept: float
    ) -> None:
        shard = only_shard(path)
        content = shard.read_bytes()
        shard.write_bytes(content[: int(len(content) * kept)])
        refusal(path, config)

    def test_a_file_of_another_kind_is_noticed(self, path: Path, config: MnistConfig) -> None:
        only_shard(path).write_bytes(b"<!DOCTYPE html><html>Not found</html>")
        refusal(path, config)

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
        edit_first_record(only_shard(path), edit)
        refusal(path, config)

    def test_records_that_all_have_too_few_pixels_are_noticed(
        self, project: Path, config: MnistConfig
    ) -> None:
        """Two halves of an image are not read as one image."""
        path = write(project / "data", draw(config, 1), config)

        def halve(features: Any) -> None:
            pixels = features["image/encoded"].bytes_list.value
            pixels[0] = pixels[0][: len(pixels[0]) // 2]

        edit_first_record(only_shard(path), halve)
        shard = only_shard(path)
        shard.write_bytes(shard.read_bytes() * 2)
        set_lengths(path, {shard.name: 2})
        refusal(path, config)


class TestShards(WithRecords):
    """What does not depend on the images."""

    @pytest.mark.parametrize("n_shards", [2, 3, 5, 20])
    def test_shards_are_loaded_once_in_their_order(
        self, path: Path, project: Path, config: MnistConfig, n_shards: int
    ) -> None:
        """With 20, some are empty."""
        folder = write_noise(project / "shards", replace(config, n_shards=n_shards))
        for whole, found in zip(read(path, config), read(folder, config), strict=True):
            for one, other in zip(whole, found, strict=True):
                np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("n_shards", [1, 2, 3, 6])
    def test_the_stream_never_ends_and_each_pass_has_each_example_once(
        self, project: Path, config: MnistConfig, n_shards: int
    ) -> None:
        folder = write_noise(project / "data", replace(config, n_shards=n_shards))
        batches = stream(folder, config, 24)
        assert {images.shape for images, _, _ in batches} == {(5, *config.image_shape)}
        flat = [name for _, _, names in batches for name in names]
        passes = [flat[i : i + N] for i in range(0, len(flat), N)]
        assert [sorted(one) for one in passes] == [EXPECTED] * 10
        assert len({tuple(one) for one in passes}) > 7
        assert EXPECTED not in passes

    @pytest.mark.parametrize("n_shards", [5, 20])
    def test_shards_that_are_not_as_long_are_streamed_too(
        self, project: Path, config: MnistConfig, n_shards: int
    ) -> None:
        folder = write_noise(project / "data", replace(config, n_shards=n_shards))
        found = streamed_names(folder, config, 12)
        assert set(found) == set(EXPECTED)

    @pytest.mark.parametrize("n_shards", [1, 3])
    def test_the_stream_is_the_same_in_each_run_and_another_with_another_seed(
        self, project: Path, config: MnistConfig, n_shards: int
    ) -> None:
        folder = write_noise(project / "data", replace(config, n_shards=n_shards))
        one, again = (streamed_names(folder, config, 24) for _ in range(2))
        assert one == again
        other = streamed_names(folder, replace(config, seed=config.seed + 1), 24)
        assert other[:N] != one[:N]
        assert other[N : 2 * N] != one[N : 2 * N]

    def test_the_stream_is_that_of_the_config_whatever_the_seed_of_the_process(
        self, path: Path, config: MnistConfig
    ) -> None:
        streams = []
        for seed in (0, 1, 12345):
            tf.random.set_seed(seed)
            streams.append(streamed_names(path, config, 5))
        assert streams[0] == streams[1] == streams[2]

    def test_the_shards_are_shuffled_each_in_its_own_way(
        self, project: Path, config: MnistConfig
    ) -> None:
        folder = write_noise(project / "data", replace(config, n_shards=2))
        found = [EXPECTED.index(name) for name in streamed_names(folder, config, 24)]
        passes = [found[i : i + N] for i in range(0, len(found), N)]
        assert any([i + N // 2 for i in one[::2]] != one[1::2] for one in passes)

    @pytest.mark.parametrize(
        ("n_shards", "n_parts"),
        [(1, 1), (1, 2), (2, 2), (2, 3), (3, 2), (6, 2), (6, 3), (6, 4), (5, 3), (20, 4)],
    )
    def test_the_parts_are_the_rows_of_the_whole(
        self, project: Path, config: MnistConfig, n_shards: int, n_parts: int
    ) -> None:
        config = replace(config, batch_size=12)
        folder = write_noise(project / "data", replace(config, n_shards=n_shards))
        whole = stream(folder, config, 5)
        for number in range(n_parts):
            part = stream(folder, config, 5, Part(number, n_parts))
            for batch, own in zip(whole, part, strict=True):
                for column, own_column in zip(batch, own, strict=True):
                    np.testing.assert_array_equal(own_column, column[number::n_parts])

    @pytest.mark.parametrize(("n_shards", "n_parts"), [(2, 2), (6, 2), (6, 3), (4, 4)])
    def test_a_part_does_not_read_the_shards_of_the_others(
        self, project: Path, config: MnistConfig, n_shards: int, n_parts: int
    ) -> None:
        config = replace(config, batch_size=12)
        folder = write_noise(project / "data", replace(config, n_shards=n_shards))
        shards = shard_paths(folder, ".tfrecord", n_shards)
        content = [shard.read_bytes() for shard in shards]
        for number in range(n_parts):
            part = Part(number, n_parts)
            expected = [own.tolist() for _, _, own in stream(folder, config, 5, part)]
            for index, shard in enumerate(shards):
                own = index % n_parts == number
                shard.write_bytes(content[index] if own else b"damaged")
            found = [own.tolist() for _, _, own in stream(folder, config, 5, part)]
            assert found == expected
            shards[number].write_bytes(b"damaged")
            with pytest.raises(PipelineError):
                stream(folder, config, 5, part)
            for shard, whole in zip(shards, content, strict=True):
                shard.write_bytes(whole)

    def test_a_missing_split_is_named_with_its_remedy(
        self, project: Path, config: MnistConfig
    ) -> None:
        for load in (load_batches, stream_batches):
            with pytest.raises(PipelineError, match=r"lengths\.json is missing: run `dvc repro`"):
                load(project / "missing", config)

    @pytest.mark.parametrize("read", [read, train])
    @pytest.mark.parametrize("number", [0, 2])
    def test_a_missing_shard_is_named_with_its_remedy(
        self, project: Path, config: MnistConfig, number: int, read: Callable[..., Any]
    ) -> None:
        folder = write_noise(project / "data", replace(config, n_shards=3))
        shard = shard_paths(folder, ".tfrecord", 3)[number]
        shard.unlink()
        assert refusal(folder, config, read).startswith(f"{shard} is missing: run `dvc repro`")

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[12]",
            b"12",
            b"null",
            b"{}",
            b"<!DOCTYPE html>",
            b'{"noise-00000-of-00001.tfrecord": 12',
            b'{"noise-00000-of-00001.tfrecord": "12"}',
            b'{"noise-00000-of-00001.tfrecord": 12.0}',
            b'{"noise-00000-of-00001.tfrecord": true}',
            b'{"noise-00000-of-00001.tfrecord": null}',
            b'{"noise-00000-of-00001.tfrecord": [12]}',
            b'{"noise-00000-of-00001.tfrecord": -1}',
            b'{"noise-00000-of-00001.tfrecord": 1e999}',
            b'{"noise-00000-of-00001.tfrecord": 9223372036854775808}',
            b'{"\xff": 12}',
            b"[" * 100_000,
        ],
        ids=lambda content: content[-30:].decode(errors="replace"),
    )
    def test_damaged_lengths_are_noticed(
        self, path: Path, config: MnistConfig, content: bytes
    ) -> None:
        (path / "lengths.json").write_bytes(content)
        for how in (read, train):
            message = refusal(path, config, how)
            assert message.startswith(f"{path / 'lengths.json'} is damaged: delete {path} and ")

    @pytest.mark.parametrize(
        "listed",
        [
            {"noise-00000-of-00002.tfrecord": N},
            {"noise-00000-of-00002.tfrecord": N, "noise-00002-of-00002.tfrecord": 1},
            {"noise-00001-of-00002.tfrecord": N, "noise-00000-of-00002.tfrecord": 1},
            {"../noise/noise-00000-of-00001.tfrecord": N},
            {"other-00000-of-00001.tfrecord": N},
            {"a\nb": N},
        ],
    )
    def test_lengths_of_other_shards_are_noticed(
        self, path: Path, config: MnistConfig, listed: dict[str, int]
    ) -> None:
        set_lengths(path, listed)
        message = refusal(path, config)
        assert message.startswith(f"{path / 'lengths.json'} lists other shards: delete {path} and ")

    @pytest.mark.parametrize("more", [-1, 1])
    @pytest.mark.parametrize("how", [read, train])
    @pytest.mark.parametrize("n_shards", [1, 3])
    def test_a_shard_of_another_length_than_its_list_says_is_noticed(
        self,
        project: Path,
        config: MnistConfig,
        n_shards: int,
        how: Callable[..., Any],
        more: int,
    ) -> None:
        folder = write_noise(project / "data", replace(config, n_shards=n_shards))
        lengths = {Path(shard).name: n for shard, n in read_lengths(folder).items()}
        lengths[max(lengths)] += more
        set_lengths(folder, lengths)
        fitting = replace(config, n_train_samples=N + more)
        assert refusal(folder, fitting, how).startswith(f"{folder}: not the records that the ")

    def test_an_empty_shard_is_noticed_where_there_were_records(
        self, path: Path, config: MnistConfig
    ) -> None:
        only_shard(path).write_bytes(b"")
        for how in (read, train):
            refusal(path, config, how)

    def test_a_split_without_examples_is_loaded_and_no_training_starts_on_it(
        self, project: Path, config: MnistConfig
    ) -> None:
        path = write(project / "data", [], config)
        assert read(path, config) == []
        assert "0 examples" in refusal(path, config, train)

    def test_the_lengths_are_by_path_in_the_order_of_the_shards(
        self, project: Path, config: MnistConfig
    ) -> None:
        folder = write_noise(project / "data", replace(config, n_shards=12))
        shards = shard_paths(folder, ".tfrecord", 12)
        lengths = [len(share(N, index, 12)) for index in range(12)]
        found = list(read_lengths(folder).items())
        assert found == list(zip(map(str, shards), lengths, strict=True))


def test_what_tensorflow_says_in_several_lines_becomes_one(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as refused, reading(tmp_path / "a"):
        raise tf.errors.DataLossError(None, None, "corrupted\n\tat 7")
    assert str(refused.value).startswith(f"{tmp_path / 'a'}: ")
    assert "(corrupted at 7)" in str(refused.value)


def test_another_error_while_reading_is_let_through(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), reading(tmp_path):
        raise ZeroDivisionError
