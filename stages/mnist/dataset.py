"""The record format of all pipelines: writes it, and loads batches of it.

A split is one TFRecord file, SPLIT.tfrecord, of tf.train.Example messages, with the keys of the ImageNet records:

    image/encoded      bytes   the pixels, row by row, one byte a channel (lossless, no codec)
    image/format       bytes   b"raw"
    image/height       int64   pixels
    image/width        int64   pixels
    image/channels     int64   1 or 3
    image/filename     bytes   the image's name in its source, unique in the file
    image/class/label  int64   0 .. n_classes - 1
    image/class/text   bytes   the name of the class

Any tf.data program reads an image with
`tf.reshape(tf.io.decode_raw(e["image/encoded"], tf.uint8), (height, width, channels))`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.digests import DigestSet
from stages.mnist.errors import PipelineError
from stages.mnist.files import replacing


class Example(NamedTuple):
    """An image and what is known of it."""

    image: npt.NDArray[np.uint8]
    """uint8 0..255 [height, width, channels]."""
    label: int
    """0 .. n_classes - 1."""
    filename: str
    """The image's name in its source."""


def write_splits(
    folder: Path, splits: Mapping[str, Iterable[Example]], config: MnistConfig
) -> None:
    """Writes the examples of each split, in the order given, to folder/SPLIT.tfrecord.

    Same examples, same bytes. Examples are streamed. The folder appears whole or not at all. At the
    end a line says how many there are of each split.

    Raises:
        PipelineError: an image has another shape or type than the config says, a label is out of
            range, or the same image stands in two splits.
        OSError: the disk is full, or the folder not writable.
    """
    counts: Counter[str] = Counter()
    written: dict[str, DigestSet] = {}
    with replacing(folder) as built, _writing(folder):
        built.mkdir()
        for split, examples in splits.items():
            images = DigestSet()
            with tf.io.TFRecordWriter(str(built / f"{split}.tfrecord")) as writer:
                for example in tqdm(examples, split, unit=" images", disable=None):
                    counts[split] += 1
                    writer.write(_serialize(example, config))
                    pixels = example.image.tobytes()
                    images.add(pixels)
                    for other, others in written.items():
                        if pixels in others:
                            _refuse_shared(built, split, example, other)
            written[split] = images
    print(f"{folder}: {', '.join(f'{counts[split]} {split} images' for split in splits)}")


def _refuse_shared(folder: Path, split: str, example: Example, other: str) -> None:
    """Raises a PipelineError if the image of `example`, of `split`, stands in the split `other` too."""
    for record in tf.data.TFRecordDataset(str(folder / f"{other}.tfrecord")).as_numpy_iterator():
        values = tf.train.Example.FromString(record).features.feature
        if values["image/encoded"].bytes_list.value[0] == example.image.tobytes():
            filename = values["image/filename"].bytes_list.value[0].decode()
            raise PipelineError(
                f"{example.filename} of the split {split} and {filename} of the split {other} are "
                "the same image: leave one of them out"
            )


def _serialize(example: Example, config: MnistConfig) -> bytes:
    image, label, filename = example
    if image.dtype != np.uint8 or image.shape != config.image_shape:
        raise PipelineError(
            f"{filename}: the image is {image.dtype} {list(image.shape)}, "
            f"the params say uint8 {list(config.image_shape)}"
        )
    if not 0 <= label < config.n_classes:
        raise PipelineError(
            f"{filename}: the label is {label}, with {config.n_classes} classes it must be "
            f"0 to {config.n_classes - 1}"
        )
    values: dict[str, int | bytes] = {
        "image/encoded": image.tobytes(),
        "image/format": b"raw",
        "image/height": image.shape[0],
        "image/width": image.shape[1],
        "image/channels": image.shape[2],
        "image/filename": filename.encode(),
        "image/class/label": int(label),
        "image/class/text": config.class_names[label].encode(),
    }
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for key, value in values.items()
    }
    message = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(message.SerializeToString(deterministic=True))


def load_batches(path: Path, config: MnistConfig, shuffled: bool = False) -> Any:
    """Loads a split in batches, the last and smaller one included.

    Args:
        path: a TFRecord file.
        config: image_shape, n_classes, batch_size; when shuffled also n_train_samples,
            shuffle_buffer and seed.
        shuffled: in another order in each pass, the same passes in each run; else as in the file.

    Returns:
        A tf.data.Dataset of batches: images, float32 0..1 [batch, height, width, channels]; labels,
        int64 0..n_classes-1 [batch]; file names, bytes [batch].

    Raises:
        PipelineError: the file is missing. What is wrong inside it shows when it is read: do that
            in `reading(path)`.
    """
    if not path.is_file():
        raise PipelineError(f"{path} is missing: run `dvc repro`, it makes what a stage needs")
    records = tf.data.TFRecordDataset(str(path))
    if shuffled:
        counted = tf.data.experimental.assert_cardinality(config.n_train_samples)
        records = records.apply(counted).shuffle(config.shuffle_buffer, config.seed)
    return records.batch(config.batch_size).map(_parser(config)).prefetch(tf.data.AUTOTUNE)


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
def _writing(folder: Path) -> Iterator[None]:
    """Turns what TensorFlow says of a full disk into an OSError."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(f"{folder} cannot be written: {error.message}") from error


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
