"""Inputs that nobody wrote, thousands of them: whatever a reader is given, it says PipelineError or reads it.

Deselected by default, see `make fuzz`. The environment's CASES says how many for each reader; those that
need TensorFlow get a tenth. A reader that crashes the interpreter ends the run: that is a failure, too.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
import tempfile
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.tarball import decode_image, read_manifest, read_tarball
from stages.mnist.backend import tf
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import load_batches, reading
from stages.mnist.errors import PipelineError
from stages.mnist.fetch import FetchConfig
from stages.mnist.idx import read_idx
from stages.mnist.model import build_classifier, load_weights
from stages.mnist.records import write_splits
from tests.ascii_letter.test_tarball import CONFIG, SIDE, encode
from tests.conftest import ROOT
from tests.mnist.test_idx import IMAGES_FILE
from tests.mnist.test_records import draw, only_shard

CASES = int(os.environ.get("CASES", "20000"))

pytestmark = pytest.mark.fuzz
settings.register_profile(
    "fuzz",
    max_examples=CASES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")
slow = settings(max_examples=max(1, CASES // 10))
PARAMS = (ROOT / "params.yaml").read_bytes()
RECORDS_CONFIG = replace(CONFIG, batch_size=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "input"


def mutate(content: bytes, seed: int) -> bytes:
    """Damages a valid file at a few places: bits, bytes, zeros, cuts, copies of parts."""
    rng, mutated = random.Random(seed), bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, length = rng.randrange(len(mutated) + 1), rng.choice((1, 2, 4, 8, 64, 512))
        part = slice(at, at + length)
        match rng.randrange(7):
            case 0 if at < len(mutated):
                mutated[at] ^= 1 << rng.randrange(8)
            case 1:
                mutated[part] = rng.randbytes(length)
            case 2:
                mutated[part] = bytes(length)
            case 3:
                mutated[part] = b"\xff" * length
            case 4:
                del mutated[part]
            case 5:
                mutated[at:at] = mutated[part]
            case 6:
                mutated[part] = rng.choice(
                    (b"-1", b"1e999", b"\n", b"\0", b"[*a]", b"\xed\xa0\x80")
                )
    return bytes(mutated)


def damaged(*valid: bytes) -> st.SearchStrategy[bytes]:
    """Random bytes, and valid files with some damage."""
    mutated = st.builds(mutate, st.sampled_from(valid), st.integers(0, 2**63))
    return st.one_of(st.binary(max_size=2048), mutated, mutated, mutated)


@given(damaged(PARAMS), st.sampled_from([MnistConfig, AsciiLetterConfig, FetchConfig]))
def test_params(path: Path, content: bytes, config_class: Any) -> None:
    path.write_bytes(content)
    with suppress(PipelineError):
        config_class.from_yaml(path)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)
)


@given(st.dictionaries(st.sampled_from([*MnistConfig.__dataclass_fields__, "x y", "é"]), values))
def test_values_of_params(path: Path, section: dict[str, Any]) -> None:
    path.write_bytes(PARAMS + yaml.safe_dump({"extra": section}, allow_unicode=True).encode())
    text = path.read_bytes().replace(b"\nmnist:", b"\nformer:").replace(b"\nextra:", b"\nmnist:")
    path.write_bytes(text)
    with suppress(PipelineError):
        MnistConfig.from_yaml(path)


@given(damaged(IMAGES_FILE, IMAGES_FILE[:8] + b"\1\2"), st.sampled_from([1, 3]))
def test_idx(path: Path, content: bytes, n_dimensions: int) -> None:
    path.write_bytes(content)
    with suppress(PipelineError):
        read_idx(path, n_dimensions)


def tarball(mode: str, format_: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=format_) as tar:  # type: ignore[call-overload]
        for name in ("a/0.png", f"b/{'long' * 40}.png", "c/é.png", "manifest.csv"):
            content = encode(1) if name[1] == "/" else b"file,family\na/0.png,Lato\n"
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.pax_headers = {"comment": "é"}
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


TARBALLS = [
    tarball(mode, format_)
    for mode in ("w", "w:gz")
    for format_ in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
]


@given(damaged(*TARBALLS))
def test_tarball(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with suppress(PipelineError):
        for _ in read_tarball(path, CONFIG):
            pass
    with suppress(PipelineError):
        read_manifest(path)


@given(damaged(TARBALLS[0], TARBALLS[1]))
def test_compressed_tarball(path: Path, content: bytes) -> None:
    """Damage under an intact compression."""
    path.write_bytes(gzip.compress(content, 1))
    with suppress(PipelineError):
        for _ in read_tarball(path, CONFIG):
            pass


def images() -> list[bytes]:
    encoded = []
    for kind in ("PNG", "GIF", "BMP", "TIFF", "JPEG", "PPM", "TGA", "WEBP", "ICO", "PCX", "SGI"):
        file = io.BytesIO()
        Image.new("L", (SIDE, SIDE), 7).save(file, kind)
        encoded.append(file.getvalue())
    return encoded


@given(damaged(*images(), encode(1)))
@example(b"\x89PNG\r\n\x1a\n")
def test_image(content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damaged files
        with suppress(PipelineError):
            decode_image("a/0.png", content, CONFIG)


def write_records(path: Path, n: int = 3) -> Path:
    """Writes a split of n records; returns its folder."""
    write_splits(path.with_name("records"), {"noise": draw(RECORDS_CONFIG, n)}, RECORDS_CONFIG)
    return path.with_name("records") / "noise"


@cache
def records() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return only_shard(write_records(Path(folder, "input"))).read_bytes()


@pytest.fixture(scope="module")
def split(path: Path) -> Path:
    """The folder of three records."""
    return write_records(path)


@pytest.fixture(scope="module")
def split_of_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one record."""
    return write_records(tmp_path_factory.mktemp("fuzz") / "input", 1)


def read(split: Path) -> None:
    try:
        with reading(split):
            for _, _, names in load_batches(split, RECORDS_CONFIG).as_numpy_iterator():
                for name in names:
                    name.decode()
    except PipelineError as error:
        assert "\n" not in str(error)


@slow
@given(st.deferred(lambda: damaged(records())))
def test_records(split: Path, content: bytes) -> None:
    only_shard(split).write_bytes(content)
    read(split)


@cache
def message() -> bytes:
    record: bytes = records()
    return record[12 : 12 + int.from_bytes(record[:8], "little")]


@slow
@given(st.deferred(lambda: damaged(message())))
def test_messages_with_right_checksums(split_of_one: Path, content: bytes) -> None:
    with tf.io.TFRecordWriter(str(only_shard(split_of_one))) as writer:
        writer.write(content)
    read(split_of_one)


LENGTHS = b'{\n  "noise-00000-of-00001.tfrecord": 3\n}\n'


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of three records, of which the list is damaged."""
    return write_records(tmp_path_factory.mktemp("fuzz") / "input")


@slow
@given(damaged(LENGTHS, LENGTHS.replace(b"1.tf", b"2.tf")))
@example(b'{"noise-00000-of-00001.tfrecord": -1}')
@example(b'{"noise-00000-of-00001.tfrecord": 1e999}')
@example(b'{"noise-00000-of-00001.tfrecord": 9223372036854775807}')
@example(b"[" * 100_000)
def test_lengths(listed: Path, content: bytes) -> None:
    (listed / "lengths.json").write_bytes(content)
    read(listed)


@slow
@given(st.integers(0, 2**63))
def test_weights(path: Path, seed: int) -> None:
    model = classifier()
    valid = path.with_name("valid.weights.h5")
    if not valid.exists():
        model.save_weights(valid)
    weights = path.with_name("input.weights.h5")
    content = valid.read_bytes()
    rng = random.Random(seed)
    if rng.random() < 0.7:  # where the names and the shapes are, not the numbers
        begin = rng.choice((0, len(content) - 20_000))
        part = mutate(content[begin : begin + 20_000], seed)
        content = content[:begin] + part + content[begin + 20_000 :]
    else:
        content = mutate(content, seed)
    weights.write_bytes(content)
    with suppress(PipelineError):
        load_weights(model, weights)


@cache
def classifier() -> Any:
    return build_classifier(RECORDS_CONFIG)
