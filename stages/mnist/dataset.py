"""Loads batches of the records that `records.py` writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge, Len, Lt
from pydantic import TypeAdapter, ValidationError

from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError
from stages.mnist.shards import shard_paths

_LENGTHS = TypeAdapter(Annotated[dict[str, Annotated[int, Ge(0), Lt(2**63)]], Len(1)])


class Part(NamedTuple):
    """A worker's part of each batch: the rows number, number + n_parts, number + 2 * n_parts ..."""

    number: int
    n_parts: int


WHOLE = Part(0, 1)


def load_batches(records: Path, config: MnistConfig) -> Any:
    """Loads a split once, in its order, in batches, the last and smaller one included.

    Args:
        records: the folder of the split.
        config: image_shape, n_classes, batch_size.

    Returns:
        A tf.data.Dataset of batches: images, float32 0..1 [batch, height, width, channels]; labels,
        int64 0..n_classes-1 [batch]; file names, bytes [batch].

    Raises:
        PipelineError: a file is missing. What is wrong inside it shows when it is read: do that in
            `reading(records)`.
    """
    stream = _table(read_lengths(records)).flat_map(_records)
    return _parsed(stream, config.batch_size, config)


def stream_batches(records: Path, config: MnistConfig, part: Part = WHOLE) -> Any:
    """Streams the training split for ever, in another order in each pass, the same stream in each run.

    The shards are shuffled each for itself, and give a record in turn. The parts of several workers,
    put together, are the batches that one worker has.

    Args:
        records: the folder of the split.
        config: as for `load_batches`, and n_train_samples, shuffle_buffer and seed.
        part: which rows of each batch, whose batch_size must be a multiple of part.n_parts. Other
            shards than its own are not read where n_parts divides the number of shards.

    Returns:
        As `load_batches`, in batches of batch_size / part.n_parts.

    Raises:
        PipelineError: as for `load_batches`, or the split has another number of examples.
    """
    lengths = {path: length for path, length in read_lengths(records).items() if length}
    if sum(lengths.values()) != config.n_train_samples:
        raise PipelineError(
            f"{records}: {sum(lengths.values())} examples, the params say {config.n_train_samples}: "
            "delete the folder and run `dvc repro`"
        )
    buffer = -(-config.shuffle_buffer // len(lengths))
    shards = _table(lengths).enumerate()
    own_shards = len(lengths) % part.n_parts == 0
    if own_shards:
        shards = shards.shard(part.n_parts, part.number)
    stream = shards.interleave(
        lambda index, shard: _shuffled(_records(*shard), buffer, config.seed + index).repeat(),
        cycle_length=len(lengths) // (part.n_parts if own_shards else 1),
    )
    if not own_shards:
        stream = stream.shard(part.n_parts, part.number)
    return _parsed(stream, config.batch_size // part.n_parts, config)


def read_lengths(records: Path) -> dict[str, int]:
    """Returns the number of records of each shard of a split, by its path, in their order.

    Raises:
        PipelineError: a shard is missing, or the file that lists them is missing or damaged.
    """
    remedy = "run `dvc repro`, it makes what a stage needs"
    path = records / "lengths.json"
    try:
        lengths = _LENGTHS.validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError as error:
        raise PipelineError(f"{path} is missing: {remedy}") from error
    except (IsADirectoryError, ValidationError) as error:
        raise PipelineError(f"{path} is damaged: delete {records} and {remedy}") from error
    shards = shard_paths(records, ".tfrecord", len(lengths))
    if list(lengths) != [shard.name for shard in shards]:
        raise PipelineError(f"{path} lists other shards: delete {records} and {remedy}")
    for shard in shards:
        if not shard.is_file():
            raise PipelineError(f"{shard} is missing: {remedy}")
    return dict(zip(map(str, shards), lengths.values(), strict=True))


def _table(lengths: dict[str, int]) -> Any:
    """Returns a dataset of paths, bytes, and lengths, int64."""
    return tf.data.Dataset.from_tensor_slices(
        (list(lengths), tf.constant(list(lengths.values()), tf.int64))
    )


def _records(path: Any, length: Any) -> Any:
    """Returns a dataset of the records of a shard, which fails where they are more or fewer."""
    counted = tf.data.experimental.assert_cardinality(length)
    return tf.data.TFRecordDataset(path).apply(counted)


def _shuffled(records: Any, buffer: int, seed: Any) -> Any:
    # The seed of this function's graph, for the process's own would change the order, and fail if it is 0.
    tf.compat.v1.set_random_seed(1)
    return records.shuffle(buffer, seed)


def _parsed(records: Any, n_rows: int, config: MnistConfig) -> Any:
    # Not as many as tf.data would keep by itself: they may be hundreds of megabytes.
    return records.batch(n_rows).map(_parser(config)).prefetch(2)


def _parser(config: MnistConfig) -> Any:
    """Returns the function from serialized examples, bytes [batch], to what `load_batches` gives."""
    keys = {
        "image/encoded": tf.io.FixedLenFeature((), tf.string),
        "image/height": tf.io.FixedLenFeature((), tf.int64),
        "image/width": tf.io.FixedLenFeature((), tf.int64),
        "image/channels": tf.io.FixedLenFeature((), tf.int64),
        "image/filename": tf.io.FixedLenFeature((), tf.string),
        "image/class/label": tf.io.FixedLenFeature((), tf.int64),
    }

    def parse(serialized: Any) -> tuple[Any, Any, Any]:
        e = tf.io.parse_example(serialized, keys)
        label = e["image/class/label"]
        shapes = tf.stack([e["image/height"], e["image/width"], e["image/channels"]], axis=1)
        with tf.control_dependencies(
            [
                tf.debugging.assert_equal(
                    shapes, tf.constant([config.image_shape], tf.int64), "an image of another size"
                ),
                tf.debugging.assert_non_negative(label, "a label below 0"),
                tf.debugging.assert_less(
                    label, tf.constant(config.n_classes, tf.int64), "a label of another class"
                ),
            ]
        ):
            pixels = tf.io.decode_raw(
                e["image/encoded"], tf.uint8
            )  # [batch, height * width * channels]
        shape = tf.shape(label)[0], *config.image_shape
        images = tf.reshape(tf.cast(pixels, tf.float32) / 255, shape)
        return images, label, e["image/filename"]

    return parse


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what TensorFlow says of a broken record file into a PipelineError that names the file."""
    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.InvalidArgumentError,
        tf.errors.FailedPreconditionError,
        UnicodeDecodeError,  # a file name
    ) as error:
        # What is wrong stands between the name of TensorFlow's iterator and that of its node.
        message = str(getattr(error, "message", error))
        reason = " ".join(message.split("[[{{")[0].rpartition("iterator: ")[2].split())
        raise PipelineError(
            f"{path}: not the records that the params describe ({reason:.200}); "
            "delete it and run `dvc repro`"
        ) from error
