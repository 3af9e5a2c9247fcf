"""Measures what a letter costs on this machine, in each step that it passes, and the bandwidths between them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import socket
import tarfile
import threading
import time
import timeit
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from stages.ascii_letter.build_tarball import draw_letters, write_tarball
from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import split_families
from stages.ascii_letter.tarball import read_examples, split_files
from stages.mnist.dataset import load_batches, read_lengths
from stages.mnist.files import write_json
from stages.mnist.model import build_classifier
from stages.mnist.records import write_splits
from stages.mnist.shards import shard_paths
from stages.mnist.training import train

_BLOCK = 1 << 20

Costs = dict[str, float]
"""Microseconds of CPU, bytes, and bytes a second, by name."""


def at_scale(config: AsciiLetterConfig, per_class: int) -> AsciiLetterConfig:
    """Returns the letters that docs/performance.md grows, 48 x 48: of 32 x 32 there are too few."""
    n_train = per_class * 4 // 5
    return replace(
        config,
        image_height=48,
        image_width=48,
        letter_size=24,
        off_center=16.0,
        pretrained_features=False,
        n_images_per_class=per_class,
        n_train_samples=n_train * config.n_classes,
        n_test_samples=(per_class - n_train) * config.n_classes,
    )


def measure(config: AsciiLetterConfig, folder: Path, per_class: int) -> Costs:
    """Measures everything, for minutes, with so many letters of each class, on the disk of a folder."""
    letters, few = at_scale(config, per_class), at_scale(config, 100)
    small = replace(few, image_height=28, image_width=28, off_center=2.0, batch_size=64)
    return {
        **measure_letters(letters, folder),
        **{f"image_{key}": value for key, value in measure_training(few, folder / "48").items()},
        **{f"small_{key}": value for key, value in measure_training(small, folder / "28").items()},
        **measure_shards(folder / "many"),
        **measure_bandwidths(folder / "block"),
    }


def cpu_microseconds(call: Callable[[], object]) -> float:
    """Returns what a call costs in all threads of this process; what it prints is dropped."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        call()
    return 1e6 * (time.process_time() - start)


def measure_letters(config: AsciiLetterConfig, folder: Path) -> Costs:
    """Measures a letter on its way from the typefaces to a batch, where each has been drawn once before."""
    seen, _ = split_families(config.unseen_families)
    tarball, records = folder / "letters.tar", folder / "tfrecords"
    n = config.n_images_per_class * config.n_classes

    def draw(per_class: int) -> None:
        write_tarball(tarball, draw_letters(config, seen, per_class))

    def write() -> None:
        chosen = zip(("train", "test"), split_files(tarball, config), strict=True)
        splits = {name: read_examples(tarball, config, files) for name, files in chosen}
        write_splits(records, splits, config)

    draw(1)
    shard = cpu_microseconds(lambda: draw(1))
    letter = cpu_microseconds(lambda: draw(config.n_images_per_class)) / n
    with tarfile.open(tarball) as tar:
        manifest = tar.getmember("manifest.csv").size / n
    record = cpu_microseconds(write) / n
    loaded = cpu_microseconds(lambda: [None for _ in load_batches(records / "train", config)])
    digests = np.random.default_rng(0).integers(0, 2**63, 10**7, np.uint64)
    of_test = digests[: len(digests) // 5].copy()

    def compare() -> None:
        digests.sort()
        np.searchsorted(digests, of_test)

    return {
        "letter_microseconds": letter,
        "letter_bytes": tarball.stat().st_size / n,
        "manifest_bytes": manifest,
        "shard_microseconds": shard,
        "record_microseconds": record,
        "record_bytes": sum(path.stat().st_size for path in records.rglob("*.tfrecord")) / n,
        "loaded_microseconds": loaded / config.n_train_samples,
        "digest_microseconds": cpu_microseconds(compare) / len(digests),
        "digest_bytes": 8,
    }


def measure_training(config: AsciiLetterConfig, folder: Path) -> Costs:
    """Measures an image of the training: three epochs less one, which takes the start away."""
    seen, _ = split_families(config.unseen_families)
    tarball, records = folder / "letters.tar", folder / "tfrecords"
    folder.mkdir()
    write_tarball(tarball, draw_letters(config, seen, config.n_images_per_class))
    chosen, _ = split_files(tarball, config)
    with contextlib.redirect_stdout(io.StringIO()):
        write_splits(records, {"train": read_examples(tarball, config, chosen)}, config)

    def epochs(n: int) -> float:
        longer = replace(config, n_epochs=n)
        return cpu_microseconds(lambda: train(longer, records / "train", folder / "curves"))

    trained = build_classifier(config).trainable_weights
    return {
        "microseconds": (epochs(3) - epochs(1)) / (2 * config.n_train_samples),
        "weights": sum(int(np.prod(weight.shape)) for weight in trained),
    }


def measure_shards(folder: Path, n: int = 100_000) -> Costs:
    """Measures what it takes to find the shards of a split, as many as there may be."""
    folder.mkdir()
    paths = shard_paths(folder, ".tfrecord", n)
    for path in paths:
        path.touch()
    write_json(folder / "lengths.json", {path.name: 10_000 for path in paths})
    return {"found_microseconds": cpu_microseconds(lambda: read_lengths(folder)) / n}


def measure_bandwidths(path: Path, n: int = 1024) -> Costs:
    """Measures the disk with n MiB, synchronized and read back, one core's MD5, and TCP to itself."""
    block = os.urandom(_BLOCK)

    def write() -> None:
        with path.open("wb") as file:
            for _ in range(n):
                file.write(block)
            os.fsync(file.fileno())

    def read() -> None:
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # not from memory
            while file.read(_BLOCK):
                pass

    def hash_blocks() -> None:
        md5 = hashlib.md5(usedforsecurity=False)
        for _ in range(n):
            md5.update(block)

    def send() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            sender = socket.create_connection(server.getsockname())
            receiver, _ = server.accept()

        def send_blocks() -> None:
            with sender:
                for _ in range(n):
                    sender.sendall(block)

        with receiver:
            threading.Thread(target=send_blocks).start()
            while receiver.recv(_BLOCK):
                pass

    calls = {"write": write, "read": read, "md5": hash_blocks, "tcp": send}
    return {
        key: n * _BLOCK / min(timeit.repeat(call, number=1, repeat=3))
        for key, call in calls.items()
    }
