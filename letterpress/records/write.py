"""Writes examples as TFRecords, the format shared by all pipelines. `read.py` reads them.

A split is a folder of shards, SPLIT/SPLIT-00000-of-00001.tfrecord, and SPLIT/lengths.json with the
number of records per shard. A shard is a TFRecord file of tf.train.Example messages, with the keys
of the ImageNet records:

    image/encoded      bytes   the pixels, row by row, one byte per channel (lossless, no codec)
    image/format       bytes   b"raw"
    image/height       int64   pixels
    image/width        int64   pixels
    image/channels     int64   1 or 3
    image/filename     bytes   the image's name in its source, unique in the split
    image/class/label  int64   0 .. n_classes - 1, or n_classes for an image of no class
    image/class/text   bytes   the name of the class, or "none"

Any tf.data program decodes an image with
`tf.reshape(tf.io.decode_raw(e["image/encoded"], tf.uint8), (height, width, channels))`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing, write_json
from letterpress.core.tensorflow import tf
from letterpress.jobs.map import map_jobs
from letterpress.jobs.processes import progress
from letterpress.jobs.shards import Job, shard_paths
from letterpress.records.example import Example, Splits, digest

Reader = Callable[[ClassifierConfig, int, tuple[Path, ...]], Splits]


def write_splits(folder: Path, splits: Splits, config: ClassifierConfig) -> None:
    """Writes the examples of each split, in the order given, as one shard. See `write_shards`."""
    # In this process: a lambda cannot be sent to another one.
    write_shards(folder, tuple(splits), lambda *_: splits, [()], config, run_here)


def run_here(function: Callable[..., Any], jobs: Iterable[Job]) -> list[Any]:
    """Runs the jobs in this process, whereas `map_jobs` spreads them."""
    return [function(*job.arguments, job.inputs, job.outputs) for job in jobs]


def write_shards(
    folder: Path,
    names: Sequence[str],
    read: Reader,
    sources: Sequence[tuple[Path, ...]],
    config: ClassifierConfig,
    run: Callable[..., Iterable[Any]] = map_jobs,
) -> None:
    """Writes splits in shards, one job per shard. Same examples, same bytes. Examples are streamed.

    Args:
        folder: where the folder of each split is made.
        names: the names of the splits.
        read: returns a shard's examples by split; a function at the top of a module, for the jobs.
        sources: for each shard, the files that `read` gets.
        config: image_shape and output_names.
        run: runs the jobs: `map_jobs` or `run_here`.

    Raises:
        PipelineError: an image or a label does not fit the config, or two splits share an image.
        OSError: the disk is full, or the folder is not writable.
    """
    with replacing(folder) as built:
        shards = {name: shard_paths(built / name, ".tfrecord", len(sources)) for name in names}
        for name in names:
            (built / name).mkdir(parents=True)
        outputs = zip(*shards.values(), strict=True)  # of each job
        jobs = [
            Job((read, names, config, index), source, paths)
            for index, (source, paths) in enumerate(zip(sources, outputs, strict=True))
        ]
        digests = dict(zip(names, zip(*run(_write_shard, jobs), strict=True), strict=True))
        _refuse_shared(shards, {name: set(chain(*digests[name])) for name in names})
        for name in names:
            lengths = zip(shards[name], map(len, digests[name]), strict=True)
            write_json(built / name / "lengths.json", {path.name: n for path, n in lengths})
    counts = [f"{sum(map(len, digests[name]))} {name} images" for name in names]
    print(f"{folder}: {', '.join(counts)}")


def _write_shard(
    read: Reader,
    names: Sequence[str],
    config: ClassifierConfig,
    index: int,
    inputs: tuple[Path, ...],
    outputs: tuple[Path, ...],
) -> list[list[int]]:
    """Writes one shard of each split. Returns the digests of its images by split."""
    digests: list[list[int]] = []
    splits = read(config, index, inputs)
    for name, path in zip(names, outputs, strict=True):
        digests.append([])
        try:
            with tf.io.TFRecordWriter(str(path)) as writer:
                for example in progress(splits[name], name, " images"):
                    writer.write(_serialize(example, config))
                    digests[-1].append(digest(example.image.tobytes()))
        except tf.errors.OpError as error:
            raise OSError(f"{path}: not writable ({error.message}). Free disk space") from error
    return digests


def _refuse_shared(shards: Mapping[str, Sequence[Path]], digests: Mapping[str, set[int]]) -> None:
    """Raises a PipelineError if two splits share an image."""
    for one, other in combinations(shards, 2):
        shared = digests[one] & digests[other]
        if shared:
            original, copy = (_find(shards[name], min(shared)) for name in (one, other))
            raise PipelineError(
                f"{copy}: the {other} image is also in the {one} split (got {original}). "
                "Remove one of the two"
            )


def _find(shards: Sequence[Path], wanted: int) -> str:
    """Returns the file name of the image with that digest."""
    for record in tf.data.TFRecordDataset(list(map(str, shards))).as_numpy_iterator():
        values = tf.train.Example.FromString(record).features.feature
        if digest(values["image/encoded"].bytes_list.value[0]) == wanted:
            return str(values["image/filename"].bytes_list.value[0].decode())
    raise AssertionError(f"no image with the digest {wanted}")


def _serialize(example: Example, config: ClassifierConfig) -> bytes:
    image, label, filename = example
    if image.dtype != np.uint8 or image.shape != config.image_shape:
        raise PipelineError(
            f"{filename}: expected an image of uint8 {list(config.image_shape)} "
            f"(got {image.dtype} {list(image.shape)}). Correct the image or params.yaml"
        )
    if not 0 <= label < config.n_outputs:
        raise PipelineError(
            f"{filename}: expected a label from 0 to {config.n_outputs - 1} (got {label}). "
            "Correct the label or n_classes"
        )
    values: dict[str, int | bytes] = {
        "image/encoded": image.tobytes(),
        "image/format": b"raw",
        "image/height": image.shape[0],
        "image/width": image.shape[1],
        "image/channels": image.shape[2],
        "image/filename": filename.encode(),
        "image/class/label": int(label),
        "image/class/text": config.output_names[label].encode(),
    }
    features = {key: _feature(value) for key, value in values.items()}
    message = tf.train.Example(features=tf.train.Features(feature=features))
    # The features are a map, which protobuf otherwise writes in any order.
    return bytes(message.SerializeToString(deterministic=True))


def _feature(value: int | bytes) -> Any:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
