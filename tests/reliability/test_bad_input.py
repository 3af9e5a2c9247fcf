"""Each kind of wrong input, through the stage that reads it: one line, code 1, and no file changed.

The tables of what each reader refuses are in the tests of the readers.
"""

import bz2
import gzip
import re
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from letterpress.jobs.shards import shard_paths
from stages.build_ascii_tarball import RAW as LETTERS
from stages.fetch_mnist import RAW as DIGITS
from tests.conftest import ROOT
from tests.records.test_records import edit_first_record, only_shard
from tests.records.test_tarball import add_member, write_tar
from tests.reliability.conftest import Refusal, letters

Harm = Callable[[Path], object]

BUILD, EVALUATE = "stages.build_ascii_tarball", "stages.evaluate"
TRAIN, FINE_TUNE = "stages.train_mnist", "stages.fine_tune_ascii"
WRITE_DIGITS, WRITE_LETTERS = "stages.write_tfrecords mnist", "stages.write_tfrecords ascii_letter"


@pytest.fixture
def refuse(made: Path, _made: Path, refusal: Refusal) -> Callable[..., None]:
    """Damages one file, and expects the stage to refuse it with this reason."""

    def run(stage: str, path: Path, harm: Harm, reason: str = "", where: str = "") -> None:
        shutil.copytree(_made, made, dirs_exist_ok=True)
        harm(path)
        message = refusal(stage)
        assert re.search(where or re.escape(str(path)), message), message
        assert reason in message, message
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    return run


def remove(path: Path) -> None:
    path.unlink()


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced(old: str, new: str) -> Harm:
    def harm(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return harm


UNKNOWN_KEY = replaced("seed:", "learnig_rate: 0.1\nseed:"), "Did you mean learning_rate?"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 8)}]\n" for i in range(12)
)
PARAMS: list[tuple[Harm, str]] = [
    (remove, "no such file"),
    (folder_instead, "Is a directory"),
    (lambda path: path.write_bytes(b"a: \xff\n"), "YAML"),
    (lambda path: path.write_text(BOMB + path.read_text()), "not a known key"),
    (replaced("seed: 12345", "seed: &s [*s]"), "seed: Input should be"),
]


def test_bad_params_are_refused(refuse: Callable[..., None]) -> None:
    for harm, reason in PARAMS:
        refuse(BUILD, Path("params.yaml"), harm, reason)
    for stage in (BUILD, WRITE_DIGITS, TRAIN, EVALUATE, WRITE_LETTERS, FINE_TUNE):
        refuse(stage, Path("params.yaml"), *UNKNOWN_KEY)


def test_bad_idx_files_are_refused(refuse: Callable[..., None]) -> None:
    images, labels = DIGITS / "train-images-idx3-ubyte", DIGITS / "train-labels-idx1-ubyte"
    refuse(WRITE_DIGITS, images, remove, "no such file. Run `dvc repro`")
    refuse(WRITE_DIGITS, images, halve, "bytes of values")

    def label_of_10(path: Path) -> None:
        path.write_bytes(struct.pack(">II", 0x801, 200) + bytes([10] * 200))

    refuse(WRITE_DIGITS, labels, label_of_10, "10", where="train/00000")


def with_image(content: bytes) -> Harm:
    """All images of one class are replaced: whichever is drawn for a split is wrong."""
    files = {letter.filename: letter.png for letter in letters("letters")}
    wrong = {name: content if name[0] == "b" else image for name, image in files.items()}
    return lambda path: write_tar(wrong, path)


def expanding(name: str, size: int, kind: bytes, compress: Callable[[bytes], bytes]) -> Harm:
    """Two gigabytes in a few megabytes: a header and 64 MiB of zeros, repeated."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    header = info.tobuf(tarfile.GNU_FORMAT)
    return lambda path: path.write_bytes((compress(header) + compress(bytes(1 << 26))) * 32)


def fast_gzip(content: bytes) -> bytes:
    return gzip.compress(content, 1)


def test_bad_tarballs_are_refused(refuse: Callable[..., None]) -> None:
    huge = 10_000_000_000
    harms: list[tuple[Harm, str]] = [
        (remove, "no such file. Run `dvc repro`"),
        (halve, "not readable as a tar file"),
        (lambda path: add_member(path, "../a/9.png"), "../a/9.png"),
        (lambda path: add_member(path, "a/\a.png"), r"a/\x07.png"),
        (expanding("a/9.png", huge, tarfile.REGTYPE, fast_gzip), "larger"),
        (expanding("x", huge, tarfile.XHDTYPE, fast_gzip), "larger"),  # a header of 10 GB
        (expanding("x", huge, tarfile.GNUTYPE_LONGNAME, bz2.compress), "larger"),
        (expanding("manifest.csv", 1 << 26, tarfile.REGTYPE, fast_gzip), "expands"),
        (expanding("a/9.png", huge, tarfile.REGTYPE, zstd.compress), "larger"),
        (expanding("manifest.csv", 1 << 26, tarfile.REGTYPE, zstd.compress), "expands"),
    ]
    tarball = shard_paths(LETTERS / "letters", ".tar", 1)[0]
    for harm, reason in harms:
        refuse(WRITE_LETTERS, tarball, harm, reason)
    refuse(WRITE_LETTERS, tarball, with_image(b"text"), "not an image", where="b/")


def test_bad_records_are_refused(refuse: Callable[..., None]) -> None:
    test, train = Path("data/mnist/tfrecords/test"), Path("data/ascii_letter/tfrecords/train")
    other_keys: Harm = lambda path: edit_first_record(path, lambda e: e.pop("image/encoded"))
    for harm in (remove, halve, other_keys):
        refuse(EVALUATE, only_shard(test), harm, where=str(test))
    refuse(FINE_TUNE, only_shard(train), halve, where=str(train.parent))
    refuse(FINE_TUNE, train / "lengths.json", remove, "no such file")
    refuse(EVALUATE, test / "lengths.json", replaced("66", "65"), where=str(test))


def test_bad_weights_are_refused(refuse: Callable[..., None]) -> None:
    pickle: Harm = lambda path: path.write_bytes(b"cos\nsystem\n(S'touch stolen'\ntR.")
    for harm in (remove, folder_instead, pickle):
        refuse(EVALUATE, Path("data/mnist/classifier.weights.h5"), harm, "dvc")
    refuse(FINE_TUNE, Path("data/mnist/features.weights.h5"), halve, "dvc")
    assert not Path("stolen").exists()


def test_no_json_has_nan_or_infinity() -> None:
    files = [
        path
        for folder in ("letterpress", "stages", "tools")
        for path in Path(ROOT, folder).rglob("*.py")
    ]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    assert code.count("json.dump") == code.count("allow_nan=False)") > 5


def test_nothing_is_unpickled() -> None:
    """Except by jobs/ray.py, which exchanges functions with a cluster of the user's own."""
    files = [path for path in ROOT.glob("letterpress/**/*.py") if path.name != "ray.py"]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    assert code.count("np.load(") == code.count("allow_pickle=False") > 0
    code = code.replace("np.load(", "").replace("allow_pickle=False", "")
    for word in ("pickle", "safe_mode", "load_model", "joblib", "eval(", "exec(", "yaml.unsafe"):
        assert word not in code
