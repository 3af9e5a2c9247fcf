"""Reads batches from the records that `write.py` writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Len, Lt
from pydantic import TypeAdapter

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import tf
from letterpress.jobs.shards import shard_paths

_LENGTHS = TypeAdapter(Annotated[dict[str, Annotated[int, Ge(0), Lt(2**63)]], Len(1)])


def load_batches(records: Path, config: ClassifierConfig) -> Any:
    """Loads the split in the folder `records` once, in its order. The last batch may be smaller.

    Returns:
        A tf.data.Dataset of batches: images, float32 0..1 [batch, height, width, channels]; labels,
        int64 0..n_outputs-1 [batch]; file names, bytes [batch].

    Raises:
        FileNotFoundError: a file is missing.
        PipelineError: lengths.json is damaged. Damaged shards are noticed while the batches are
            read: do that inside `with reading(records)`.
    """
    stream = _shards(read_lengths(records)).flat_map(_read_shard)
    return _batched(stream, config)


def stream_batches(records: Path, config: ClassifierConfig) -> Any:
    """Streams the training split endlessly, reshuffled in each pass. Same arguments, same stream.

    Each shard is shuffled separately; shards are interleaved. The batches are as `load_batches` has
    them, but all of the same size.

    Raises:
        PipelineError: the split is empty; see `load_batches`.
    """
    lengths = {path: length for path, length in read_lengths(records).items() if length}
    if not lengths:
        raise PipelineError(
            f"{records}: no records. Give the split images in params.yaml, and run `dvc repro`"
        )
    buffer = -(-config.shuffle_buffer // len(lengths))  # of each shard, rounded up

    def read_shuffled(index: Any, shard: Any) -> Any:
        # Without a seed of its own, this graph would take the process's and shuffle differently.
        tf.compat.v1.set_random_seed(1)
        return _read_shard(*shard).shuffle(buffer, config.seed + index).repeat()

    stream = _shards(lengths).enumerate().interleave(read_shuffled, cycle_length=len(lengths))
    return _batched(stream, config)


def read_lengths(records: Path) -> dict[str, int]:
    """Reads lengths.json: the number of records of each shard of a split, by path, in order.

    Raises:
        FileNotFoundError: a shard or lengths.json is missing.
        PipelineError: lengths.json is damaged.
    """
    path = records / "lengths.json"
    try:
        lengths = _LENGTHS.validate_json(path.read_bytes(), strict=True)
        shards = shard_paths(records, ".tfrecord", len(lengths))
        if list(lengths) != [shard.name for shard in shards]:
            raise ValueError("other shards")
    except ValueError as error:  # pydantic's too
        raise PipelineError(
            f"{path}: not the list of this folder's shards. Delete the folder and run `dvc repro`"
        ) from error
    for shard in shards:
        shard.stat()  # raises an error if it is missing
    return dict(zip(map(str, shards), lengths.values(), strict=True))


@contextmanager
def reading(records: Path) -> Iterator[None]:
    """Turns TensorFlow's errors about damaged records into a PipelineError."""
    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.InvalidArgumentError,
        tf.errors.FailedPreconditionError,
        UnicodeDecodeError,  # a file name
    ) as error:
        # The reason is between the names of TensorFlow's iterator and of its graph node.
        message = str(getattr(error, "message", error))
        reason = " ".join(message.split("[[{{")[0].rpartition("iterator: ")[2].split())
        raise PipelineError(
            f"{records}: the records are damaged or do not fit params.yaml ({reason:.200}). "
            "Delete the folder and run `dvc repro`"
        ) from error


def _shards(lengths: dict[str, int]) -> Any:
    """Returns a dataset of the shards: path, bytes, and number of records, int64."""
    return tf.data.Dataset.from_tensor_slices(
        (list(lengths), tf.constant(list(lengths.values()), tf.int64))
    )


def _read_shard(path: Any, length: Any) -> Any:
    """Returns a dataset of the records of a shard. It fails if there are more or fewer."""
    counted = tf.data.experimental.assert_cardinality(length)
    return tf.data.TFRecordDataset(path).apply(counted)


def _batched(records: Any, config: ClassifierConfig) -> Any:
    # Batched first: one call parses a whole batch.
    batches = records.batch(config.batch_size).map(lambda serialized: _parse(serialized, config))
    return batches.prefetch(2)  # AUTOTUNE may buffer hundreds of megabytes


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def _parse(serialized: Any, config: ClassifierConfig) -> tuple[Any, Any, Any]:
    """Parses serialized examples, bytes [batch], into what `load_batches` returns."""
    text, number = tf.io.FixedLenFeature((), tf.string), tf.io.FixedLenFeature((), tf.int64)
    keys = {
        "image/encoded": text,
        "image/height": number,
        "image/width": number,
        "image/channels": number,
        "image/filename": text,
        "image/class/label": number,
    }
    e = tf.io.parse_example(serialized, keys)
    label = e["image/class/label"]
    shapes = tf.stack([e["image/height"], e["image/width"], e["image/channels"]], axis=1)
    expected = tf.constant([config.image_shape], tf.int64)
    n_outputs = tf.constant(config.n_outputs, tf.int64)
    checks = [
        tf.debugging.assert_equal(shapes, expected, "an image of another size"),
        tf.debugging.assert_non_negative(label, "a label below 0"),
        tf.debugging.assert_less(label, n_outputs, "a label of another class"),
    ]
    with tf.control_dependencies(checks):
        pixels = tf.io.decode_raw(e["image/encoded"], tf.uint8)  # [batch, height*width*channels]
    shape = tf.shape(label)[0], *config.image_shape
    images = tf.reshape(tf.cast(pixels, tf.float32) / 255, shape)
    return images, label, e["image/filename"]
