"""Records: their format, loading and streaming them, and what is refused."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import tf
from letterpress.jobs.shards import shard_paths, share
from letterpress.records.example import Example, Splits, digest
from letterpress.records.read import load_batches, read_lengths, reading, stream_batches
from letterpress.records.write import run_here, write_shards, write_splits
from tests.core.test_files import contents

N = 12
CONFIG = ClassifierConfig(
    image_height=8, image_width=10, n_channels=3, batch_size=5, shuffle_buffer=N
)


def draw(config: ClassifierConfig, n: int = N) -> list[Example]:
    """Images of noise, and the classes in turn."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, *config.image_shape), dtype=np.uint8)
    return [
        Example(image, i % config.n_classes, f"noise/{i:02d}.png") for i, image in enumerate(images)
    ]


def write(folder: Path, examples: Iterable[Example], config: ClassifierConfig = CONFIG) -> Path:
    """Writes the only split of a folder, in one shard. Returns the folder of the split."""
    write_splits(folder, {"noise": examples}, config)
    return folder / "noise"


def read_noise(config: ClassifierConfig, shard: int, files: tuple[Path, ...]) -> Splits:
    """A shard's share of N examples."""
    own = share(N, shard, config.n_shards)
    return {"noise": draw(config)[own.start : own.stop]}


def write_noise(folder: Path, n_shards: int) -> Path:
    """Writes N examples in shards. Returns the folder of the split."""
    config = CONFIG.replace(n_shards=n_shards)
    write_shards(folder, ("noise",), read_noise, [()] * n_shards, config, run_here)
    return folder / "noise"


def read_with_a_copy(config: ClassifierConfig, shard: int, files: tuple[Path, ...]) -> Splits:
    """The second shard's test image is a training image of the first shard."""
    copy = draw(config)[1]._replace(filename="copy.png")
    return {"train": draw(config)[:3], "test": []} if shard == 0 else {"train": [], "test": [copy]}


def only_shard(path: Path) -> Path:
    """The file of a split with one shard."""
    return shard_paths(path, ".tfrecord", 1)[0]


def files_of(path: Path, n_shards: int = 1) -> set[str]:
    """The files of a split, relative to the folder of the splits."""
    shards = shard_paths(path, ".tfrecord", n_shards)
    return {f"{path.name}/{file.name}" for file in (*shards, path / "lengths.json")}


def raw_records(path: Path) -> list[bytes]:
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def edit_first_record(path: Path, edit: Callable[[Any], object]) -> None:
    """Rewrites a shard with its first message changed, and right checksums."""
    records = raw_records(path)
    message = tf.train.Example.FromString(records[0])
    edit(message.features.feature)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in [message.SerializeToString(), *records[1:]]:
            writer.write(record)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A split of N records in one shard."""
    return write(tmp_path / "data", draw(CONFIG))


def test_any_program_can_read_the_documented_fields(path: Path) -> None:
    for record, example in zip(raw_records(only_shard(path)), draw(CONFIG), strict=True):
        e = tf.train.Example.FromString(record).features.feature
        assert {key: [*e[key].bytes_list.value, *e[key].int64_list.value] for key in e} == {
            "image/encoded": [example.image.tobytes()],
            "image/format": [b"raw"],
            "image/height": [8],
            "image/width": [10],
            "image/channels": [3],
            "image/filename": [example.filename.encode()],
            "image/class/label": [example.label],
            "image/class/text": [str(example.label).encode()],
        }
    assert digest(b"") == 0xB4B2797457A0A6E4  # on every machine


def test_the_same_examples_are_the_same_bytes_and_older_splits_are_removed(path: Path) -> None:
    before = contents(path.parent)
    write_splits(path.parent, {"train": draw(CONFIG)[:4], "test": []}, CONFIG)
    assert set(contents(path.parent)) == files_of(Path("train")) | files_of(Path("test"))
    write(path.parent, (example for example in draw(CONFIG)))
    assert contents(path.parent) == before


def test_an_image_shared_by_two_splits_is_refused(path: Path) -> None:
    before = contents(path)
    match = r"copy.png: the test image is also in the train split \(got noise/01.png\)"
    with pytest.raises(PipelineError, match=match):
        write_shards(path.parent, ("train", "test"), read_with_a_copy, [(), ()], CONFIG, run_here)
    copy = draw(CONFIG)[1]._replace(filename="copy.png")
    with pytest.raises(PipelineError, match=match):
        write_splits(path.parent, {"train": draw(CONFIG), "test": [copy]}, CONFIG)
    assert contents(path) == before
    write(path.parent, [draw(CONFIG)[1], copy])  # within one split it is accepted
    assert len(raw_records(only_shard(path))) == 2


WRONG_EXAMPLES: list[Callable[[Example], Example]] = [
    lambda e: e._replace(image=e.image.transpose(1, 0, 2)),
    lambda e: e._replace(image=e.image[..., 0]),
    lambda e: e._replace(image=e.image.astype(np.float32)),
    lambda e: e._replace(label=-1),
    lambda e: e._replace(label=CONFIG.n_classes),
]


def test_a_wrong_example_is_refused_and_older_records_are_kept(path: Path) -> None:
    before = contents(path)
    for change in WRONG_EXAMPLES:
        splits = {"noise": draw(CONFIG)[:9], "test": [change(draw(CONFIG)[11])]}
        with pytest.raises(PipelineError, match=r"^noise/11\.png: expected .*\(got "):
            write_splits(path.parent, splits, CONFIG)
        assert contents(path) == before


def test_a_full_disk_is_an_error_that_a_stage_reports(tmp_path: Path) -> None:
    """A limit on the size of a file stands in for the end of the disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="not writable"):
            write(tmp_path / "data", draw(CONFIG, 200))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path) == {}


def read(path: Path, config: ClassifierConfig = CONFIG) -> list[Any]:
    with reading(path):
        return list(load_batches(path, config).as_numpy_iterator())


def train(path: Path, config: ClassifierConfig = CONFIG) -> list[Any]:
    """Ten passes of the training stream."""
    with reading(path):
        return list(stream_batches(path, config).take(24).as_numpy_iterator())


def passes(path: Path, config: ClassifierConfig = CONFIG) -> list[list[int]]:
    """The numbers of the images in each of ten passes of the training stream."""
    flat = [int(name[6:8]) for _, _, names in train(path, config) for name in names]
    return [flat[i : i + N] for i in range(0, 10 * N, N)]


def refusal(path: Path, config: ClassifierConfig = CONFIG, how: Callable[..., Any] = read) -> str:
    """The error about a damaged split, one line that begins with its folder or a file of it."""
    with pytest.raises(PipelineError) as refused:
        how(path, config)
    message = str(refused.value)
    assert message.startswith(str(path))
    assert message.endswith("run `dvc repro`")
    assert "\n" not in message
    return message


def test_examples_come_back_exactly_and_in_order_from_any_shards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With 20 shards, some are empty."""
    for n_shards in (1, 3, 20):
        folder = write_noise(tmp_path / "data", n_shards)
        assert capsys.readouterr().out.endswith(f"{folder.parent}: {N} noise images\n")
        assert set(contents(folder.parent)) == files_of(folder, n_shards)
        lengths = read_lengths(folder)
        assert list(lengths) == list(map(str, shard_paths(folder, ".tfrecord", n_shards)))
        assert set(lengths.values()) == {N // n_shards, -(-N // n_shards)}
        batches = read(folder)
        assert [images.shape for images, _, _ in batches] == [(n, 8, 10, 3) for n in (5, 5, 2)]
        images, labels, names = map(np.concatenate, zip(*batches, strict=True))
        assert [str(one.dtype) for one in (images, labels)] == ["float32", "int64"]
        assert (images.min(), images.max()) == (0, 1)  # black is 0 and white is 1
        for image, label, name, example in zip(images, labels, names, draw(CONFIG), strict=True):
            np.testing.assert_array_equal((image * 255).round().astype(np.uint8), example.image)
            assert (label, name.decode()) == (example.label, example.filename)


def test_each_pass_of_the_stream_has_each_example_once_in_another_order(tmp_path: Path) -> None:
    for n_shards in (1, 2, 6):
        found = passes(write_noise(tmp_path / "data", n_shards))
        assert [sorted(one) for one in found] == [list(range(N))] * 10
        assert len({tuple(one) for one in found}) > 7
        assert list(range(N)) not in found
        if n_shards == 2:  # each shard is shuffled in its own way
            assert any([i + N // 2 for i in one[::2]] != one[1::2] for one in found)
    for n_shards in (5, 20):  # shards of different lengths: the passes overlap
        found = passes(write_noise(tmp_path / "data", n_shards))
        assert set().union(*found) == set(range(N))


def test_streamed_images_keep_their_labels(path: Path) -> None:
    examples = {example.filename.encode(): example for example in draw(CONFIG)}
    for images, labels, names in train(path):
        for image, label, name in zip(images, labels, names, strict=True):
            assert label == examples[name].label
            np.testing.assert_allclose(image * 255, examples[name].image, atol=1e-3)


def test_the_config_alone_decides_the_order_of_the_stream(tmp_path: Path) -> None:
    for n_shards in (1, 3):
        folder = write_noise(tmp_path / "data", n_shards)
        streams = []
        for seed_of_process in (0, 1, 12345):
            tf.random.set_seed(seed_of_process)
            streams.append(passes(folder))
        assert streams[0] == streams[1] == streams[2]
        other = passes(folder, CONFIG.replace(seed=CONFIG.seed + 1))
        assert all(one != another for one, another in zip(streams[0][:2], other[:2], strict=True))


def test_an_empty_split_is_read_but_not_streamed(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", [])
    assert read(empty) == []
    assert "no records" in refusal(empty, how=train)


def flip(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("how", [read, train])
def test_a_damaged_shard_is_refused(path: Path, how: Callable[..., Any]) -> None:
    content = only_shard(path).read_bytes()
    second_record = 8 + 4 + int.from_bytes(content[:8], "little") + 4
    page = b"<!DOCTYPE html><html>Not found</html>"
    harmed = [flip(content, position) for position in (0, 9, 100, -1)]
    harmed += [content[:10], content[: len(content) // 2], content[:-1], b"", page]
    harmed += [content[second_record:], content + content]  # fewer or more than in lengths.json
    for harm in harmed:
        only_shard(path).write_bytes(harm)
        assert "the records are damaged" in refusal(path, how=how)


def test_records_of_another_config_are_refused(path: Path) -> None:
    for change in ({"image_height": 9}, {"image_height": 10, "image_width": 8}, {"n_channels": 1}):
        assert "an image of another size" in refusal(path, CONFIG.replace(**change))
    assert "a label of another class" in refusal(path, CONFIG.replace(n_classes=9))


def halve(features: Any) -> None:
    pixels = features["image/encoded"].bytes_list.value
    pixels[0] = pixels[0][: len(pixels[0]) // 2]


EDITS: list[Callable[[Any], object]] = [
    lambda e: e["image/class/label"].int64_list.value.__setitem__(0, -1),
    lambda e: e["image/class/label"].int64_list.value.append(1),
    lambda e: e["image/class/label"].bytes_list.value.append(b"1"),
    lambda e: e.pop("image/filename"),
    halve,
]


def test_a_record_of_another_program_is_refused(path: Path, tmp_path: Path) -> None:
    content = only_shard(path).read_bytes()
    for edit in EDITS:
        only_shard(path).write_bytes(content)
        edit_first_record(only_shard(path), edit)
        refusal(path)
    # Two halves of an image are not read as one image.
    shard = only_shard(write(tmp_path / "data", draw(CONFIG, 1)))
    edit_first_record(shard, halve)
    shard.write_bytes(shard.read_bytes() * 2)
    (shard.parent / "lengths.json").write_text(json.dumps({shard.name: 2}), encoding="utf-8")
    refusal(shard.parent)


def test_a_missing_shard_or_list_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    folder = write_noise(tmp_path / "data", 3)
    shard_paths(folder, ".tfrecord", 3)[2].unlink()
    for path, name in ((folder, "noise-00002-of-00003"), (tmp_path, "lengths.json")):
        for load in (load_batches, stream_batches):
            with pytest.raises(FileNotFoundError, match=name):
                load(path, CONFIG)


def test_damaged_lengths_are_refused(path: Path) -> None:
    name = only_shard(path).name.encode()
    values = [b'"12"', b"12.0", b"true", b"null", b"-1", b"1e999", b"9223372036854775808"]
    damaged = [b'{"%s": %s}' % (name, value) for value in values]
    damaged += [b"", b"[12]", b"{}", b"<!DOCTYPE html>", b'{"\xff": 12}', b"[" * 100_000]
    damaged += [b'{"../noise/%s": 12}' % name]
    damaged.append(b'{"noise-00001-of-00002.tfrecord": 12, "noise-00000-of-00002.tfrecord": 1}')
    for content in damaged:
        (path / "lengths.json").write_bytes(content)
        assert refusal(path).startswith(f"{path / 'lengths.json'}: not the list of"), content
