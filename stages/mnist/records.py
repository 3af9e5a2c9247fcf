"""The record format of all pipelines: what writes it. See `dataset.py` for what loads it.

A split is a folder of shards, SPLIT/SPLIT-00000-of-00001.tfrecord, and SPLIT/lengths.json, which says how
many records each has. A shard is a TFRecord file of tf.train.Example messages, with the keys of the
ImageNet records:

    image/encoded      bytes   the pixels, row by row, one byte a channel (lossless, no codec)
    image/format       bytes   b"raw"
    image/height       int64   pixels
    image/width        int64   pixels
    image/channels     int64   1 or 3
    image/filename     bytes   the image's name in its source, unique in the split
    image/class/label  int64   0 .. n_classes - 1
    image/class/text   bytes   the name of the class

Any tf.data program reads an image with
`tf.reshape(tf.io.decode_raw(e["image/encoded"], tf.uint8), (height, width, channels))`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.digests import digest
from stages.mnist.engine import Job, map_jobs
from stages.mnist.errors import PipelineError
from stages.mnist.example import Example
from stages.mnist.files import replacing, write_json
from stages.mnist.processes import HIDDEN
from stages.mnist.shards import shard_paths

Splits = Mapping[str, Iterable[Example]]
"""The examples of each split, by its name."""


def write_splits(folder: Path, splits: Splits, config: MnistConfig) -> None:
    """Writes the examples of each split, in the order given, as one shard. See `write_shards`."""
    with _replacing(folder, tuple(splits), 1) as (outputs, written):
        written.append(_write_shard(lambda *_: splits, tuple(splits), config, 0, (), outputs[0]))


def write_shards(
    folder: Path,
    names: Sequence[str],
    read: Callable[[MnistConfig, int, tuple[Path, ...]], Splits],
    sources: Sequence[tuple[Path, ...]],
    config: MnistConfig,
) -> None:
    """Writes splits in shards, each made by a job of its own (see `engine.py`).

    Same examples, same bytes. Examples are streamed. The folder appears whole or not at all. At the
    end a line says how many there are of each split.

    Args:
        folder: the folder of the splits' folders.
        names: those of the splits.
        read: a function at the top of a module that returns the examples of a shard's splits, called
            with config, the shard's number and its source.
        sources: for each shard the files that its examples come from.
        config: what the examples must be like.

    Raises:
        PipelineError: an image has another shape or type than the config says, a label is out of
            range, or the same image stands in two splits.
        OSError: the disk is full, or the folder not writable.
    """
    with _replacing(folder, names, len(sources)) as (outputs, written):
        jobs = [
            Job((read, names, config, shard), source, outputs[shard])
            for shard, source in enumerate(sources)
        ]
        written.extend(map_jobs(_write_shard, jobs))


@contextmanager
def _replacing(
    folder: Path, names: Sequence[str], n_shards: int
) -> Iterator[tuple[list[tuple[Path, ...]], list[list[npt.NDArray[np.uint64]]]]]:
    """Yields the paths to write, by shard and split, and a list for what `_write_shard` returns."""
    with replacing(folder) as built:
        paths = [shard_paths(built / name, ".tfrecord", n_shards) for name in names]
        for name in names:
            (built / name).mkdir(parents=True)
        written: list[list[npt.NDArray[np.uint64]]] = []
        yield list(zip(*paths, strict=True)), written
        digests = [np.concatenate(one) for one in zip(*written, strict=True)]
        _refuse_shared(dict(zip(names, paths, strict=True)), dict(zip(names, digests, strict=True)))
        for name, files, split in zip(names, paths, zip(*written, strict=True), strict=True):
            lengths = {path.name: len(one) for path, one in zip(files, split, strict=True)}
            write_json(built / name / "lengths.json", lengths)
    counts = (f"{len(one)} {name} images" for name, one in zip(names, digests, strict=True))
    print(f"{folder}: {', '.join(counts)}")


def _write_shard(
    read: Callable[[MnistConfig, int, tuple[Path, ...]], Splits],
    names: Sequence[str],
    config: MnistConfig,
    index: int,
    inputs: tuple[Path, ...],
    outputs: tuple[Path, ...],
) -> list[npt.NDArray[np.uint64]]:
    """Writes one shard of each split; returns the digests of its images, uint64 [n], split by split."""
    written = []
    splits = read(config, index, inputs)
    for name, path in zip(names, outputs, strict=True):
        digests = array("Q")
        with _writing(path), tf.io.TFRecordWriter(str(path)) as writer:
            for example in tqdm(splits[name], name, unit=" images", disable=HIDDEN):
                writer.write(_serialize(example, config))
                digests.append(digest(example.image.tobytes()))
        written.append(np.frombuffer(digests, np.uint64))
    return written


def _refuse_shared(
    paths: Mapping[str, Sequence[Path]], images: Mapping[str, npt.NDArray[np.uint64]]
) -> None:
    """Raises a PipelineError if the same image stands in two splits, whose images have these digests."""
    for digests in images.values():
        digests.sort()  # in place: np.intersect1d would need five times the memory
    for one, other in combinations([name for name in images if len(images[name])], 2):
        places = np.searchsorted(images[one], images[other])
        for shared in images[other][images[one].take(places, mode="clip") == images[other]]:
            first, second = (_find(paths[name], shared) for name in (one, other))
            if first[0] == second[0]:
                raise PipelineError(
                    f"{second[1]} of the split {other} and {first[1]} of the split {one} are the "
                    "same image: leave one of them out"
                )


def _find(paths: Sequence[Path], wanted: np.uint64) -> tuple[bytes, str]:
    """Returns content and file name of the image of that digest."""
    for record in tf.data.TFRecordDataset(list(map(str, paths))).as_numpy_iterator():
        values = tf.train.Example.FromString(record).features.feature
        pixels = values["image/encoded"].bytes_list.value[0]
        if digest(pixels) == wanted:
            return pixels, values["image/filename"].bytes_list.value[0].decode()
    raise AssertionError("a digest of an image that was written")


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


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns what TensorFlow says of a full disk into an OSError."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be written: {error.message}") from error
