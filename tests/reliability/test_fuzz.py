"""Thousands of damaged inputs: a reader reads them or raises a PipelineError.

Deselected by default, see `make fuzz`. CASES is the number of inputs per reader; those that need
TensorFlow get a tenth. A reader that crashes the interpreter ends the run: that is a failure, too.
"""

import bz2
import gzip
import io
import lzma
import os
import random
import re
import resource
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml
from PIL import Image

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.errors import PipelineError
from letterpress.core.params import read_params
from letterpress.core.tensorflow import tf
from letterpress.images.files import open_files
from letterpress.mnist.fetch import FetchMnistConfig
from letterpress.mnist.idx import read_idx
from letterpress.model.network import build_classifier
from letterpress.model.weights import load_weights
from letterpress.prediction.forward import Classifier
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


def fuzz(
    valid: Sequence[bytes],
    read: Callable[[bytes], object],
    n: int = CASES,
    harm: Callable[[bytes, random.Random], bytes] = mutate,
) -> None:
    """Calls a reader with `n` damaged copies of valid contents."""
    for seed in range(SEED, SEED + n):
        rng = random.Random(seed)
        try:
            read(harm(rng.choice(valid), rng))
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


SCALARS = "0123456789.eExXoObB_:+-~ yYnNaAlLfFsSiItTrRuUkK'\"#,[]{}!&*|>%@`?=<é\t"
WORDS = "yes No ON off true False ~ null .inf -.INF .nan 0x1F 0o17 017 1_000 1e-05 1:30 2026-11-25"


def test_yaml_scalars_mean_what_dvc_reads(path: Path) -> None:
    for seed in range(SEED, SEED + CASES):
        rng = random.Random(seed)
        scalar = "".join(rng.choices(SCALARS, k=rng.randrange(1, 7)))
        if rng.random() < 0.3:
            scalar = rng.choice(WORDS.split()) + rng.choice(("", "", scalar))
        text = rng.choice(("seed: {}\n", "a: [{}]\n", "a: {{b: {}}}\n", "{}: 1\n")).format(scalar)
        path.write_text(text, encoding="utf-8")
        found = None
        with suppress(PipelineError):
            found = repr(read_params(path))
        try:
            expected = repr(parse_yaml(text, str(path), typ="safe"))
        except Exception:  # noqa: BLE001  # DVC's reader may raise anything
            expected = None
        # Values of the same types, or refused.
        assert found in (None, expected), f"{text!r}: repeat it with CASES=1 SEED={seed}"
        assert found or not expected or not is_plain(expected), text


def is_plain(expected: str) -> bool:
    """Whether it is a mapping from strings, which must not be refused."""
    return bool(re.match(r"\{['\"]", expected))


def test_idx(path: Path) -> None:
    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_idx(path, 3)

    fuzz([IMAGES_FILE], read)


def tarball(mode: str, dialect: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=dialect) as tar:  # type: ignore[call-overload]
        for name in ("a/0.png", f"b/{'long' * 20}.png", "c/é.png", "manifest.csv"):
            content = encode(1) if name[1] == "/" else b"file,family\na/0.png,Lato\n"
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.pax_headers = {"comment": "é"}
            tar.addfile(info, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "a/0.png"
            tar.addfile(info)
    return file.getvalue()


def sparse_tarball(folder: Path, *options: str) -> bytes:
    """A file of holes in one of the four dialects, as GNU tar packs it."""
    (folder / "a").mkdir(exist_ok=True)
    with (folder / "a/0.png").open("wb") as file:
        file.write(encode(1))
        file.truncate(1 << 20)
    command = ["tar", "-cSf", "-", f"--directory={folder}", *options, "a/0.png"]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize(
    "compress", [bytes, lambda content: gzip.compress(content, 1), bz2.compress, lzma.compress]
)
def test_tarball(path: Path, compress: Callable[[bytes], bytes]) -> None:
    """With the damage under an intact compression."""

    def read(content: bytes) -> None:
        path.write_bytes(compress(content))
        with suppress(PipelineError):
            read_manifest(path)
        list(read_tarball(path, CONFIG))

    valid = [tarball("w:gz"), *(tarball("w", kind) for kind in range(3))]  # ustar, GNU, pax
    versions = (f"--sparse-version={version}" for version in ("0.0", "0.1", "1.0"))
    dialects = [("--format=gnu",), *(("--format=posix", version) for version in versions)]
    valid += [sparse_tarball(path.parent, *options) for options in dialects]
    fuzz(valid, read, CASES // 4)


def encode_in_all_formats() -> dict[str, bytes]:
    """A small image in each format that Pillow reads and writes."""
    Image.init()
    encoded = {}
    for kind in sorted(Image.OPEN.keys() & Image.SAVE.keys()):
        for mode in ("L", "RGB", "1"):
            file = io.BytesIO()
            with suppress(OSError, ValueError, KeyError):  # a mode that the format lacks
                Image.new(mode, (SIDE, SIDE), 1).save(file, kind)
                encoded[f"{kind} {mode}"] = file.getvalue()
    return encoded


def lie(content: bytes, rng: random.Random) -> bytes:
    """Replaces the size of an image wherever the file may state it, as text or in 1 to 4 bytes."""
    size = rng.choice((0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1))
    forms = [(str(SIDE).encode(), str(size).encode())]
    for length in (1, 2, 4):
        wrong = min(size, 256**length - 1)
        for order in ("little", "big"):
            old, new = (int.to_bytes(n, length, order) for n in (SIDE, wrong))
            forms.append((old, new))
    old, new = rng.choice([form for form in forms if form[0] in content[:512]] or forms)
    return content[:512].replace(old, new, rng.choice((1, 2, 4))) + content[512:]


def test_zip_file(path: Path) -> None:
    with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/0.png", "b/é.png", "b/notes.txt"):
            archive.writestr(name, encode(1))

    def read(content: bytes) -> None:
        path.write_bytes(content)
        with open_files(path) as files:
            for _, read_file in files:
                read_file()

    fuzz([file.getvalue()], read)


@pytest.mark.parametrize("fit", [False, True])
@pytest.mark.parametrize("harm", [mutate, lie])
def test_image(
    fit: bool, harm: Callable[[bytes, random.Random], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged files, and files whose size lies. The most pixels are fewer, to save time."""
    monkeypatch.setattr("letterpress.records.image._MOST_PIXELS", 1_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    encoded = list(encode_in_all_formats().values())
    assert len(encoded) > 20
    fuzz(encoded, lambda content: decode_image("a/0.png", content, CONFIG, fit), CASES // 2, harm)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 500_000  # kB


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
        with suppress(PipelineError):
            Classifier(CONFIG, path)
        load_weights(classifier, path)

    fuzz([content[:20_000]], read, CASES // 10)  # names and shapes come before most numbers
