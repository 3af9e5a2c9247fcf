"""Thousands of damaged inputs: a reader reads them or raises a PipelineError.

Deselected by default, see `make fuzz`. CASES is the number of inputs per reader; those that need
TensorFlow get a tenth. A reader that crashes the interpreter ends the run: that is a failure, too.
"""

import gzip
import io
import os
import random
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import tf
from letterpress.mnist.fetch import FetchMnistConfig
from letterpress.mnist.idx import read_idx
from letterpress.model.network import build_classifier
from letterpress.model.weights import load_weights
from letterpress.records.image import decode_image
from letterpress.records.read import load_batches, reading
from letterpress.records.tarball import read_manifest, read_tarball
from tests.conftest import ROOT
from tests.mnist.test_digits import IMAGES_FILE
from tests.records.test_records import draw, only_shard, write
from tests.records.test_tarball import CONFIG, SIDE, encode

pytestmark = pytest.mark.fuzz
CASES = int(os.environ.get("CASES", "20000"))
SEED = int(os.environ.get("SEED", random.randrange(2**32)))


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Removes, replaces, repeats or inserts bytes at a few places of a valid file."""
    mutated = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, length = rng.randrange(len(mutated) + 1), rng.choice((1, 2, 4, 8, 64, 512))
        old = mutated[at : at + length]
        flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in old)
        blanks = b"", bytes(length), b"\xff" * length, rng.randbytes(length)
        texts = b"-1", b"1e999", b"\n", b"[*a]", b"\xed\xa0\x80"
        mutated[at : at + length] = rng.choice((*blanks, flipped, 2 * old, rng.choice(texts)))
    return bytes(mutated)


def fuzz(valid: Sequence[bytes], read: Callable[[bytes], object], n: int = CASES) -> None:
    """Calls a reader with `n` damaged copies of valid contents."""
    for seed in range(SEED, SEED + n):
        rng = random.Random(seed)
        try:
            read(mutate(rng.choice(valid), rng))
        except PipelineError as error:
            assert "\n" not in str(error)
        except Exception as error:
            raise AssertionError(f"repeat it with CASES=1 SEED={seed}") from error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "input"


@pytest.mark.parametrize("config_class", [AsciiLetterConfig, FetchMnistConfig])
def test_params(path: Path, config_class: type[AsciiLetterConfig | FetchMnistConfig]) -> None:
    def read(content: bytes) -> None:
        path.write_bytes(content)
        config_class.from_yaml(path)

    fuzz([(ROOT / "params.yaml").read_bytes()], read)


def test_idx(path: Path) -> None:
    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_idx(path, 3)

    fuzz([IMAGES_FILE], read)


def tarball(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:  # type: ignore[call-overload]
        for name in ("a/0.png", f"b/{'long' * 40}.png", "c/é.png", "manifest.csv"):
            content = encode(1) if name[1] == "/" else b"file,family\na/0.png,Lato\n"
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.pax_headers = {"comment": "é"}
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("compress", [bytes, lambda content: gzip.compress(content, 1)])
def test_tarball(path: Path, compress: Callable[[bytes], bytes]) -> None:
    """Once with the damage under an intact compression."""

    def read(content: bytes) -> None:
        path.write_bytes(compress(content))
        with suppress(PipelineError):
            read_manifest(path)
        list(read_tarball(path, CONFIG))

    fuzz([tarball("w"), tarball("w:gz")], read)


@pytest.mark.parametrize("fit", [False, True])
def test_image(fit: bool) -> None:
    encoded = [encode(1)]
    for kind in ("GIF", "BMP", "TIFF", "JPEG", "PPM", "TGA", "WEBP", "ICO", "PCX", "SGI"):
        file = io.BytesIO()
        Image.new("L", (SIDE, SIDE), 7).save(file, kind)
        encoded.append(file.getvalue())
    fuzz(encoded, lambda content: decode_image("a/0.png", content, CONFIG, fit))


@pytest.mark.parametrize("with_right_checksums", [False, True])
def test_records(tmp_path: Path, with_right_checksums: bool) -> None:
    config = CONFIG.replace(batch_size=4)
    split = write(tmp_path, draw(config, 1), config)
    shard = only_shard(split)
    valid = shard.read_bytes()
    if with_right_checksums:
        valid = valid[12 : 12 + int.from_bytes(valid[:8], "little")]

    def read(content: bytes) -> None:
        shard.write_bytes(content)
        if with_right_checksums:
            with tf.io.TFRecordWriter(str(shard)) as writer:
                writer.write(content)
        with reading(split):
            for _, _, names in load_batches(split, config).as_numpy_iterator():
                for name in names:
                    name.decode()

    fuzz([valid], read, CASES // 10)


def test_weights(tmp_path: Path) -> None:
    classifier, path = build_classifier(CONFIG), tmp_path / "input.weights.h5"
    classifier.save_weights(path)
    content = path.read_bytes()

    def read(head: bytes) -> None:
        path.write_bytes(head + content[20_000:])
        load_weights(classifier, path)

    fuzz([content[:20_000]], read, CASES // 10)  # names and shapes come before most numbers
