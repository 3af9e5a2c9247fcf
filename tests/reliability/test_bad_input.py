"""Each wrong input, through the command that reads it: one line, code 1, and no file touched."""

from __future__ import annotations

import bz2
import gzip
import re
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from stages.ascii_letter.build_tarball import RAW as LETTERS
from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.tarball import read_tarball
from stages.mnist import fetch
from stages.mnist.errors import run
from stages.mnist.fetch import RAW as DIGITS
from stages.mnist.shards import shard_paths
from tests.ascii_letter.test_tarball import (
    DAMAGES,
    HEADER,
    WRONG_IMAGES,
    add_member,
    chunk,
    encode,
    write_tar,
)
from tests.conftest import ROOT, Params, write_params
from tests.mnist.test_records import edit_first_record, only_shard
from tests.reliability.conftest import N_PER_CLASS, Refusal, letters

Harm = Callable[[Path], object]


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


# ---------------------------------------------------------------------------------------- params

BUILD = "stages.ascii_letter.build_tarball"
TRAIN, FINE_TUNE = "stages.mnist.train", "stages.ascii_letter.fine_tune"
WRITE_DIGITS, WRITE_LETTERS = "stages.mnist.write_tfrecords", "stages.ascii_letter.write_tfrecords"
EVALUATE, EVALUATE_LETTERS = "stages.mnist.evaluate", "stages.ascii_letter.evaluate"
SHOW, FETCH = "stages.mistakes.show", "stages.mnist.fetch"

WITH_MNIST = [WRITE_DIGITS, TRAIN, EVALUATE]
WITH_LETTERS = [BUILD, WRITE_LETTERS, FINE_TUNE, EVALUATE_LETTERS, SHOW]


@pytest.mark.parametrize("module", [*WITH_MNIST, *WITH_LETTERS])
def test_an_unknown_key_stops_every_stage_that_could_mean_it(
    made: Path, refusal: Refusal, module: str
) -> None:
    with Path("params.yaml").open("a", encoding="utf-8") as file:
        file.write("learnig_rate: 0.1\n")
    said = "params.yaml: learnig_rate is not a known key: did you mean learning_rate?"
    assert refusal(module) == said


VALUES = {
    "learning_rate": ["fast", "'1e-05'", "true", "[0.1]", "{a: 1}", "", "2026-01-01"],
    "learning_rate_": [
        ".nan",
        ".inf",
        "-.inf",
        "0",
        "-0.1",
        "-1e-05",
        "11",
        "1e400",
        f"1{'0' * 400}",
    ],
    "n_epochs": ["0", "-1", "1.0", "1e3", "'3'", "true", "[1]", "1" + "0" * 400, "2147483648"],
    "batch_size": ["0", "-1", "1" + "0" * 30],
    "shuffle_buffer": ["0", "9223372036854775808"],
    "seed": ["-1", "4294967296", "0.5", "1" + "0" * 5000],
    "warmup": ["1", "-0.1", ".nan"],
    "max_rotation": ["181", "-1", ".inf"],
    "max_shift": ["-1", "1e308", ".inf"],
    "max_zoom": ["1", "-0.1"],
    "n_channels": ["2", "0", "-1", "1.0"],
    "pretrained_features": ["1", "'true'", "null"],
    "optimizer": ["adamm", "3", "[adam]", r'"a\ndam"'],
    "image_height": ["7", "-1", "1000000000"],
    "n_classes": ["1", "27", "1000000000"],
    "letter_size": ["7", "1000000000"],
    "off_center": ["-1", "17", ".nan"],
    "unseen_families": ["[]", "Lato", "[3]"],
    "n_images_per_class": ["0", "1" + "0" * 30],
}


@pytest.mark.parametrize(
    ("key", "value"), [(k.rstrip("_"), v) for k, values in VALUES.items() for v in values]
)
def test_a_bad_value_is_refused_by_its_key(
    made: Path, refusal: Refusal, key: str, value: str
) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    before, mark, own = text.partition("\nascii_letter:\n")
    own, *after = re.split(r"(?m)^(?=\w)", own, maxsplit=1)  # the sections after it
    line = rf"(?m)^( *){key}:.*(\n  - .*)*$"
    own, n = re.subn(line, rf"\1{key}: {value}", own)
    if not n:
        before, n = re.subn(line, rf"\1{key}: {value}", before, count=1)
    assert n == 1
    Path("params.yaml").write_text(f"{before}{mark}{own}{''.join(after)}", encoding="utf-8")
    message = refusal(BUILD)
    assert message.startswith("params.yaml: ")
    assert key in message or "digits" in message  # a number of 5000 digits is not read at all
    assert len(message) < 250


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 8)}]\n" for i in range(12)
)
FILES: dict[str, tuple[Harm, str]] = {
    "gone": (lambda path: path.unlink(), "No such file"),
    "a folder": (folder_instead, "Is a directory"),
    "empty": (lambda path: path.write_bytes(b""), "expected keys and values"),
    "invalid": (lambda path: path.write_bytes(b"a: [1\n"), "cannot be read as YAML"),
    "not UTF-8": (lambda path: path.write_bytes(b"a: \xff\n"), "cannot be read as YAML"),
    "UTF-16": (lambda path: path.write_bytes("a: 1\n".encode("utf-16")), "cannot be read as YAML"),
    "a page": (lambda path: path.write_text("<!DOCTYPE html>\n<p>404"), "expected keys and values"),
    "a bomb": (lambda path: path.write_text(BOMB + path.read_text()), "is not a known key"),
    "a bomb as a value": (
        lambda path: path.write_text(
            BOMB.replace("a", "seed_") + path.read_text().replace("seed: 12345", "seed: *seed_12")
        ),
        "seed",
    ),
    "a list in itself": (
        lambda path: path.write_text(path.read_text().replace("seed: 12345", "seed: &s [*s]")),
        "seed: Input should be a valid integer",
    ),
    "a key twice": (
        lambda path: path.write_text(path.read_text() + "seed: 1\n"),
        "'seed' stands there twice",
    ),
    "no section": (
        lambda path: path.write_text(path.read_text().replace("\nascii_letter:", "\nletters:")),
        "the section ascii_letter: is missing",
    ),
    "no seed": (
        lambda path: path.write_text(path.read_text().replace("seed: 12345\n", "")),
        "seed is missing: add it",
    ),
}


@pytest.mark.parametrize(("harm", "reason"), FILES.values(), ids=FILES)
def test_a_bad_file_of_params_is_refused(
    made: Path, refusal: Refusal, harm: Harm, reason: str
) -> None:
    harm(Path("params.yaml"))
    message = refusal(BUILD)
    assert message.startswith("params.yaml: ")
    assert reason in message


# ------------------------------------------------------------------------------------------- IDX


def edit(path: Path, change: Callable[[bytearray], object]) -> None:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def gzipped(compress: Callable[[bytes], bytes]) -> Harm:
    """Replaces a file by a gzipped one."""

    def replace(path: Path) -> None:
        path.with_name(f"{path.name}.gz").write_bytes(compress(path.read_bytes()))
        path.unlink()

    return replace


PAGE = b"<!DOCTYPE html><html>Not found</html>"
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
IDX: dict[str, tuple[str, Harm, str]] = {
    "wrong magic": (IMAGES, lambda p: edit(p, lambda c: c.__setitem__(3, 4)), "not an IDX file"),
    "truncated": (
        IMAGES,
        lambda p: edit(p, lambda c: c.__delitem__(slice(999, None))),
        "holds 983",
    ),
    "truncated header": (LABELS, lambda p: p.write_bytes(p.read_bytes()[:7]), "not an IDX file"),
    "too long": (LABELS, lambda p: p.write_bytes(p.read_bytes() + b"\0"), "holds 201"),
    "a size of 2**96": (
        IMAGES,
        lambda p: edit(p, lambda c: c.__setitem__(slice(4, 16), b"\xff" * 12)),
        "states",
    ),
    "counts that disagree": (
        LABELS,
        lambda p: p.write_bytes(struct.pack(">II", 0x801, 3) + b"\0\1\2"),
        "200 train images but 3 labels",
    ),
    "too few": (
        "t10k-labels-idx1-ubyte",
        lambda p: [
            p.write_bytes(struct.pack(">II", 0x801, 1) + b"\0"),
            p.with_name("t10k-images-idx3-ubyte").write_bytes(
                struct.pack(">IIII", 0x803, 1, 28, 28) + bytes(28 * 28)
            ),
        ],
        "1 t10k images, the params ask for 60",
    ),
    "label above 9": (LABELS, lambda p: edit(p, lambda c: c.__setitem__(8, 10)), "the label is 10"),
    "a page": (IMAGES, lambda p: p.write_bytes(PAGE), "not an IDX file"),
    "still gzipped": (
        IMAGES,
        lambda p: p.write_bytes(gzip.compress(p.read_bytes())),
        "not an IDX file",
    ),
    "empty": (LABELS, lambda p: p.write_bytes(b""), "it starts with nothing"),
    "gone": (LABELS, lambda p: p.unlink(), "No such file"),
    "other images": (
        IMAGES,
        lambda p: p.write_bytes(struct.pack(">IIII", 0x803, 200, 14, 56) + p.read_bytes()[16:]),
        "train/00000: the image is uint8 [14, 56, 1]",
    ),
}


@pytest.mark.parametrize(("name", "harm", "reason"), IDX.values(), ids=IDX)
def test_a_bad_idx_file_is_refused(
    made: Path, refusal: Refusal, name: str, harm: Harm, reason: str
) -> None:
    harm(DIGITS / name)
    message = refusal(WRITE_DIGITS)
    assert reason in message
    assert "data/mnist/raw" in message or message.startswith("train/00000: ")


FETCHED: dict[str, tuple[Harm, str]] = {
    "a wrong hash": (lambda p: edit(p, lambda c: c.__setitem__(99, c[99] ^ 1)), "SHA-256"),
    "a page": (lambda p: p.write_bytes(PAGE), "SHA-256"),
    "a gzip bomb of 2 GB": (gzipped(lambda _: gzip.compress(bytes(1 << 24), 9) * 128), "SHA-256"),
    "a gzip that is cut off": (gzipped(lambda c: gzip.compress(c)[:-20]), "end-of-stream"),
    "a page for a gzip": (gzipped(lambda _: PAGE), "Not a gzipped file"),
}


@pytest.mark.parametrize(("harm", "reason"), FETCHED.values(), ids=FETCHED)
def test_what_a_source_has_is_not_taken_if_it_is_wrong(
    made: Path, tiny_params: Params, harm: Harm, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    source = made / "source"
    DIGITS.rename(source)
    tiny_params["fetch_mnist"]["sources"] = ["file:source"]
    write_params(made, tiny_params)
    harm(source / IMAGES)
    with pytest.raises(SystemExit) as stop:
        run(fetch.main)
    message = capfd.readouterr().err
    assert stop.value.code == 1
    assert message.startswith(f"error: {IMAGES}: no source has what is needed:\n  file:")
    assert reason in message
    assert "To supply the files by hand" in message
    assert not DIGITS.exists()


# --------------------------------------------------------------------------------------- tarball

TARBALL = shard_paths(LETTERS / "letters", ".tar", 1)[0]


def png_that_claims(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return HEADER[:8] + header + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")


def with_first_image(content: bytes) -> Harm:
    """The images of one class are all replaced: whichever is drawn for a split is wrong."""
    files = {letter.filename: letter.png for letter in letters(N_PER_CLASS, 0)}
    replaced = {name: content if name[0] == "b" else png for name, png in files.items()}
    return lambda path: write_tar(replaced, path)


def append(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Harm:
    return lambda path: add_member(path, name, kind, link)


def without(chosen: Callable[[str], bool]) -> Harm:
    files = {letter.filename: letter.png for letter in letters(N_PER_CLASS, 0)}
    return lambda path: write_tar({n: c for n, c in files.items() if not chosen(n)}, path)


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def expanding(header: bytes, compress: Callable[[bytes], bytes]) -> Harm:
    """Two gigabytes in some megabytes or less: a header and 64 MiB of zeros, again and again."""

    def write(path: Path) -> None:
        path.write_bytes((compress(header) + compress(bytes(1 << 26))) * 32)

    return write


def changed(change: Callable[[bytes], bytes]) -> Harm:
    return lambda path: path.write_bytes(change(path.read_bytes()))


TARBALLS: dict[str, tuple[Harm, str]] = {
    "path traversal": (append("../a/9.png"), "is no file in the folder of a class"),
    "path traversal inside": (append("a/../../9.png"), "is no file in the folder of a class"),
    "absolute name": (append("/a/9.png"), "is no file in the folder of a class"),
    "symlink": (append("a/9.png", tarfile.SYMTYPE, "/etc/passwd"), "is no file in the folder"),
    "hardlink": (append("a/9.png", tarfile.LNKTYPE, "a/0.png"), "is no file in the folder"),
    "character device": (append("a/9.png", tarfile.CHRTYPE), "is no file in the folder"),
    "block device": (append("a/9.png", tarfile.BLKTYPE), "is no file in the folder"),
    "pipe": (append("a/9.png", tarfile.FIFOTYPE), "is no file in the folder"),
    "a name twice": (append("a/0.png"), "'a/0.png' stands there twice"),
    "unknown class": (append("d/0.png"), "'d/0.png' is no file in the folder of a class (a/ to c/)"),
    "no folder": (append("0.png"), "'0.png' is no file in the folder"),
    "empty class": (without(lambda n: n[0] == "b"), "0 images of the class b"),
    "too few": (without(lambda n: n == "c/1.png"), "7 images of the class c"),
    "name not UTF-8": (append("a/\udcff.png"), r"'a/\udcff.png'"),
    "name of two lines": (append("a/\n.png"), r"'a/\n.png'"),
    "name with a bell": (append("a/\a.png"), r"'a/\x07.png'"),
    "a PNG that claims 60000x60000": (
        with_first_image(png_that_claims(60_000, 60_000)),
        "3600000000 pixels",
    ),
    "a PNG that claims 10000x10000": (
        with_first_image(png_that_claims(10_000, 10_000)),
        "10000x10000",
    ),
    "a member of 10 GB": (
        expanding(member("a/9.png", 10_000_000_000), lambda b: gzip.compress(b, 1)),
        "'a/9.png' is larger than",
    ),
    "a hidden member of 10 GB": (
        expanding(member("x", 10_000_000_000, tarfile.XHDTYPE), lambda b: gzip.compress(b, 1)),
        "larger than",
    ),
    "a long name of 10 GB": (
        expanding(member("x", 10_000_000_000, tarfile.GNUTYPE_LONGNAME), bz2.compress),
        "larger than",
    ),
    "many manifests of 64 MB": (
        expanding(member("manifest.csv", 1 << 26), lambda b: gzip.compress(b, 1)),
        "expands to more than",
    ),
} | {
    f"image: {name}": (with_first_image(content), reason if "an image of" in reason else "b/")
    for name, (content, reason) in WRONG_IMAGES.items()
} | {
    f"damage: {name}": (changed(harm), "cannot be read as a tarball")
    for name, harm in DAMAGES.items()
}  # fmt: skip


@pytest.mark.parametrize(("harm", "reason"), TARBALLS.values(), ids=TARBALLS)
def test_a_bad_tarball_is_refused(made: Path, refusal: Refusal, harm: Harm, reason: str) -> None:
    harm(TARBALL)
    message = refusal(WRITE_LETTERS)
    assert reason in message
    assert str(TARBALL) in message or message.startswith("b/")


def test_very_long_names_are_accepted(made: Path) -> None:
    add_member(TARBALL, f"a/{'x' * 5000}.png", tarfile.REGTYPE)
    assert len(list(read_tarball(TARBALL, AsciiLetterConfig.from_yaml()))[-1][0]) == 5006


# ------------------------------------------------------------------------------------- TFRecords


def drop_last_record(path: Path) -> None:
    content, ends, at = path.read_bytes(), [0], 0
    while at < len(content):
        at += 16 + struct.unpack("<Q", content[at : at + 8])[0]
        ends.append(at)
    path.write_bytes(content[: ends[-2]])


RECORDS: dict[str, Harm] = {
    "gone": lambda p: p.unlink(),
    "a folder": folder_instead,
    "empty": lambda p: p.write_bytes(b""),
    "a page": lambda p: p.write_bytes(PAGE),
    "gzipped": lambda p: p.write_bytes(gzip.compress(p.read_bytes())),
    "truncated in a record": lambda p: p.write_bytes(p.read_bytes()[:-1]),
    "truncated in a header": lambda p: p.write_bytes(p.read_bytes()[:5]),
    "truncated between records": drop_last_record,
    "all records twice": lambda p: p.write_bytes(p.read_bytes() * 2),
    "a bit flipped in a length": lambda p: edit(p, lambda c: c.__setitem__(0, c[0] ^ 1)),
    "a bit flipped in a checksum": lambda p: edit(p, lambda c: c.__setitem__(9, c[9] ^ 1)),
    "a bit flipped in the data": lambda p: edit(p, lambda c: c.__setitem__(99, c[99] ^ 1)),
    "label out of range": lambda p: edit_first_record(
        p, lambda e: e["image/class/label"].int64_list.value.__setitem__(0, 10)
    ),
    "label below 0": lambda p: edit_first_record(
        p, lambda e: e["image/class/label"].int64_list.value.__setitem__(0, -1)
    ),
    "an image of another size": lambda p: edit_first_record(
        p, lambda e: e["image/height"].int64_list.value.__setitem__(0, 14)
    ),
    "other keys": lambda p: edit_first_record(p, lambda e: e.pop("image/encoded")),
    "a codec": lambda p: edit_first_record(
        p, lambda e: e["image/encoded"].bytes_list.value.__setitem__(0, encode(1))
    ),
    "name not UTF-8": lambda p: edit_first_record(
        p, lambda e: e["image/filename"].bytes_list.value.__setitem__(0, b"\xff")
    ),
}


MNIST_TEST = (EVALUATE, "data/mnist/tfrecords/test")
LETTERS_TRAIN = (FINE_TUNE, "data/ascii_letter/tfrecords/train")
LETTERS_UNSEEN = (EVALUATE_LETTERS, "data/ascii_letter/tfrecords/unseen")


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        *((MNIST_TEST, name) for name in RECORDS),
        (LETTERS_UNSEEN, "truncated between records"),
        # A training takes seconds: what is wrong with a record is found by the same code.
        (LETTERS_TRAIN, "gone"),
        (LETTERS_TRAIN, "truncated between records"),
    ],
)
def test_bad_records_are_refused(
    made: Path, refusal: Refusal, stage: tuple[str, str], name: str
) -> None:
    module, path = stage
    RECORDS[name](only_shard(Path(path)))
    message = refusal(module)
    assert message.startswith(path)
    assert "run `dvc repro`" in message


LENGTHS: dict[str, Harm] = {
    "gone": lambda p: p.unlink(),
    "a folder": folder_instead,
    "empty": lambda p: p.write_bytes(b""),
    "a page": lambda p: p.write_bytes(PAGE),
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-3]),
    "not UTF-8": lambda p: p.write_bytes(b'{"\xff": 60}'),
    "a list": lambda p: p.write_bytes(b"[60]"),
    "a bomb": lambda p: p.write_bytes(b"[" * 1_000_000),
    "no shard": lambda p: p.write_bytes(b"{}"),
    "a number as text": lambda p: edit_lengths(p, '"60"'),
    "one fewer": lambda p: edit_lengths(p, "59"),
    "one more": lambda p: edit_lengths(p, "61"),
    "below 0": lambda p: edit_lengths(p, "-1"),
    "beyond all numbers": lambda p: edit_lengths(p, "1e999"),
    "a shard elsewhere": lambda p: p.write_text(p.read_text().replace("test-", "../train/train-")),
    "the names of other shards": lambda p: p.write_text(p.read_text().replace("-of-00001", "")),
}


def edit_lengths(path: Path, number: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("60") == 1
    path.write_text(text.replace("60", number), encoding="utf-8")


@pytest.mark.parametrize("harm", LENGTHS.values(), ids=LENGTHS)
def test_bad_lengths_of_records_are_refused(made: Path, refusal: Refusal, harm: Harm) -> None:
    module, path = MNIST_TEST
    harm(Path(path, "lengths.json"))
    message = refusal(module)
    assert path in message
    assert "run `dvc repro`" in message


# --------------------------------------------------------------------------------------- weights


def nested(path: Path) -> None:
    """Another program's HDF5: a group in the place of an array, objects in the place of numbers."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda n, i: names.append(n) if isinstance(i, h5py.Dataset) else None)
        del file[names[0]]
        file.create_group(names[0])


def as_text(path: Path) -> None:
    """Words of the right shape in the place of numbers."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda n, i: names.append(n) if isinstance(i, h5py.Dataset) else None)
        shape = file[names[0]].shape
        del file[names[0]]
        file[names[0]] = np.full(shape, b"cos\nsystem", dtype="S10")


WEIGHTS: dict[str, Harm] = {
    "gone": lambda p: p.unlink(),
    "a folder": folder_instead,
    "empty": lambda p: p.write_bytes(b""),
    "a page": lambda p: p.write_bytes(PAGE),
    "a pickle": lambda p: p.write_bytes(b"cos\nsystem\n(S'touch stolen'\ntR."),
    "truncated": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "a damaged header": lambda p: edit(p, lambda c: c.__setitem__(slice(8, 64), b"\xff" * 56)),
    "damaged groups": lambda p: edit(p, lambda c: c.__setitem__(slice(96, 800), b"\xff" * 704)),
    "a group for an array": nested,
    "words for numbers": as_text,
    "the other pipeline's": lambda p: p.write_bytes(
        Path(
            "data/mnist/classifier.weights.h5"
            if "ascii" in str(p)
            else "data/ascii_letter/classifier.weights.h5"
        ).read_bytes()
    ),
    "features for a classifier, or the reverse": lambda p: p.write_bytes(
        Path(
            f"data/mnist/{'classifier' if 'features' in p.name else 'features'}.weights.h5"
        ).read_bytes()
    ),
}


@pytest.mark.parametrize(
    ("module", "path"),
    [
        (FINE_TUNE, "data/mnist/features.weights.h5"),
        (EVALUATE, "data/mnist/classifier.weights.h5"),
        (EVALUATE_LETTERS, "data/ascii_letter/classifier.weights.h5"),
    ],
)
@pytest.mark.parametrize("harm", WEIGHTS.values(), ids=WEIGHTS)
def test_bad_weights_are_refused(
    made: Path, refusal: Refusal, module: str, path: str, harm: Harm
) -> None:
    harm(Path(path))
    message = refusal(module)
    assert message.startswith(path)
    assert "run `dvc repro`" in message
    assert not Path("stolen").exists()


def test_the_weights_of_another_number_of_classes_are_refused(made: Path, refusal: Refusal) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("n_classes: 10", "n_classes: 11"), encoding="utf-8")
    message = refusal(EVALUATE)
    assert message.startswith("data/mnist/classifier.weights.h5: not the weights of this")


def test_nothing_is_ever_unpickled() -> None:
    """No stage names what could: safe_mode stays on the safe side, its default, allow_pickle off.

    But cluster.py, which sends functions to a cluster of one's own and gets their results.
    """
    files = [path for path in ROOT.glob("stages/**/*.py") if path.name != "cluster.py"]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    assert code.count("np.load(") == code.count("allow_pickle=False") > 0
    code = code.replace("np.load(", "").replace("allow_pickle=False", "")
    for word in (
        "pickle",
        "safe_mode",
        "load_model",
        "numpy.load",
        "joblib",
        "eval(",
        "exec(",
        "yaml.unsafe",
    ):
        assert word not in code
