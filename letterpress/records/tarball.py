"""Reads a tar file of labelled images: one folder per class, one file per image.

    a/00000.png, a/00001.png, b/00000.png ...    class/name, in any order, in any format of Pillow's
    none/00000.png                               images of no class, if config.none_share > 0
    manifest.csv                                 file, and what describes it; optional

It may be compressed (gzip, bzip2, xz, Zstandard). Names are read in Unicode's composed form (NFC).
Hidden files and those that macOS and Windows add to folders are left out.
"""

import bz2
import csv
import gzip
import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import chain, compress
from pathlib import Path
from random import Random
from typing import IO, Any
from unicodedata import normalize

import numpy as np
import numpy.typing as npt
from backports import zstd

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.jobs.shards import shard_paths, share
from letterpress.records.example import Example, Splits, digest
from letterpress.records.image import decode_image, open_image

SPLITS = ("train", "validation", "test", "unseen")

SETS = ("letters", "validation", "unseen")
"""Folders of tar files. The first is split by the seed, the others belong to their split."""
_SPLIT_BY_SEED = ("train", "validation", "test")

MOST_BYTES = 1 << 27
"""Bytes of a member: more than any image file has."""
_MOST_HEADER = 1 << 20
"""Bytes that describe a member: its name, its attributes, the holes of a sparse file."""
MOST_EXPANDED, MOST_EXPANSION = 1 << 30, 100
"""Bytes of all members, and the same in times the size of the tar file: a bomb exceeds both."""
_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x5d\0\0": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
}
"""How a tar file is decompressed, by its first bytes."""

_OTHER_ARCHIVES = {
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "RAR",
}
_SYSTEM_FILES = {"__macosx", "@eadir", "icon\r", "desktop.ini", "ehthumbs.db", "thumbs.db"}
FORBIDDEN = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")  # surrogates: bytes that are not UTF-8


class _Member(tarfile.TarInfo):
    """A member that fits into memory. tarfile reads long names as members too."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        member = super().frombuf(buf, encoding, errors)
        member.check_size()
        return member

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_Member":
        try:
            return super().fromtarfile(tar)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # tarfile does not check the numbers in the headers of sparse files.
            raise tarfile.ReadError(f"a damaged header at byte {tar.offset}") from error

    def check_size(self) -> None:
        if not 0 <= self.size <= MOST_BYTES:
            raise tarfile.TarError(f"{self.name!r} is larger than {MOST_BYTES} bytes")


class _Reader:
    """Reads the members of a decompressed tar file in their order, within the limits above.

    It is also the file that tarfile reads, so that no header makes it read on without bound.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file
        self._end = max(MOST_EXPANDED, MOST_EXPANSION * size)
        self._budget = _MOST_HEADER
        self._tar: Any = tarfile.TarFile(fileobj=self, tarinfo=_Member)  # type: ignore[arg-type]

    def read(self, size: int) -> bytes:
        self._budget -= size
        if size < 0 or self._budget < 0:
            raise tarfile.TarError(f"a header is larger than {_MOST_HEADER} bytes")
        self._check_end(self.tell())
        return self._file.read(size)

    def _check_end(self, position: int) -> None:
        if position > self._end:
            raise tarfile.TarError(f"expands to more than {self._end} bytes")

    def files(self) -> Iterator[tuple[_Member, str]]:
        """Yields each member that is not a folder, and its name in NFC."""
        expanded = 0
        while member := self._tar.next():
            self._tar.members.clear()  # tarfile would keep 0.5 kB per file
            member.check_size()  # again: the header of a sparse file has another size
            expanded += member.size  # the holes of a sparse file included
            self._check_end(expanded)
            if not member.isdir():
                yield member, normalize("NFC", member.name.removeprefix("./"))
            self._budget = _MOST_HEADER
        # tarfile takes any damage for the end.
        self.seek(self._tar.offset)
        if self.read(tarfile.BLOCKSIZE).strip(b"\0") or self.tell() == self._tar.offset:
            raise tarfile.ReadError(f"damaged or cut off at byte {self._tar.offset}")
        while self._file.read(1 << 16):  # to the checksum at the end of a compressed file
            self._check_end(self.tell())

    def content(self, member: _Member) -> bytes:
        """Returns the content of a regular file."""
        self._budget = member.size
        return bytes(self._tar.extractfile(member).read())


def read_tarball(
    tarball: Path, config: ClassifierConfig, is_first: bool = False
) -> Iterator[tuple[str, bytes]]:
    """Yields the name, class/file, and the content of each image file.

    The first of several readings prints how many files were left out.

    Raises:
        FileNotFoundError: the tar file is missing.
        PipelineError: the tar file is damaged or a bomb, or has a file outside the class folders,
            a link, a duplicate, or a name with a control character.
    """
    labels = _labels(config)
    seen: set[str] = set()
    n_left_out = 0
    with open_tar(tarball) as tar:
        for member, name in tar.files():
            if name == "manifest.csv":
                continue
            if is_system_file(name):
                n_left_out += 1
                continue
            problem = _problem(member, name, labels)
            if name in seen:
                problem = f"duplicate file {name!r}. Remove one"
            if problem:
                raise PipelineError(f"{tarball}: {problem}")
            seen.add(name)
            yield name, tar.content(member)
    if is_first and n_left_out:
        print(f"{tarball}: {n_left_out} hidden files, or of macOS or Windows, left out")


def is_system_file(name: str) -> bool:
    """Whether a file, or a folder that it is in, is hidden or made by macOS or Windows."""
    return any(
        (part.startswith(".") and part != "..") or part.lower() in _SYSTEM_FILES
        for part in name.split("/")
    )


def _labels(config: ClassifierConfig) -> dict[str, int]:
    """Returns the label of each class by its name in NFC, as file systems may decompose names."""
    return {normalize("NFC", name): label for label, name in enumerate(config.output_names)}


def _problem(member: tarfile.TarInfo, name: str, labels: Collection[str]) -> str | None:
    """Returns why a member is not accepted as an image file, and the remedy."""
    folder, _, base = name.partition("/")
    if member.issym() or member.islnk():
        return f"{name!r} is a link. Pack the file itself: `tar --hard-dereference -h`"
    if not member.isreg() or folder not in labels or not base or "/" in base:
        first, *_, last = labels
        remedy = "Remove it"
        if folder not in labels and folder.lower() in labels:
            remedy = f"Rename the folder to {folder.lower()}/"
        elif folder not in labels and base.partition("/")[0] in labels:
            remedy = f"Pack the folders inside {folder}/, without {folder}/ itself"
        return f"{name!r} is not a file in a class folder (expected {first}/ to {last}/). {remedy}"
    if FORBIDDEN.search(name):
        return f"{name!r} has a control character or is not UTF-8. Rename it"
    return None


@contextmanager
def open_tar(tarball: Path) -> Iterator[_Reader]:
    """Opens a tar file; turns the errors of reading it into a PipelineError."""
    try:
        with tarball.open("rb") as file:
            start = file.read(6)  # the longest magic number, that of xz
        if kind := next((_OTHER_ARCHIVES[m] for m in _OTHER_ARCHIVES if start.startswith(m)), None):
            raise tarfile.TarError(f"a {kind} archive: unpack it first")
        opener = next((o for magic, o in _OPENERS.items() if start.startswith(magic)), Path.open)
        with opener(tarball, "rb") as file:
            yield _Reader(file, tarball.stat().st_size)
    except FileNotFoundError:
        raise
    except (
        OSError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        zstd.ZstdError,
        tarfile.TarError,
    ) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{tarball}: not readable as a tar file ({reason}). "
            "Pack it again with `tar`, or delete it and run `dvc repro`"
        ) from error


def read_manifest(tarball: Path) -> dict[str, dict[str, str]]:
    """Reads the rows of a tar file's manifest.csv by file.

    Raises:
        PipelineError: the tar file is not readable, or its manifest is missing or damaged.
    """
    with open_tar(tarball) as tar:
        contents = [
            tar.content(member)
            for member, name in tar.files()
            if name == "manifest.csv" and member.isreg()
        ]
        if len(contents) != 1:
            found = "several files" if contents else "no file"
            raise PipelineError(
                f"{tarball}: {found} manifest.csv. Pack it once, or run `dvc repro`"
            )
        text = io.TextIOWrapper(io.BytesIO(contents[0]), "utf-8")
        try:
            return {normalize("NFC", row["file"]): row for row in csv.DictReader(text)}
        except (KeyError, UnicodeDecodeError, csv.Error) as error:
            raise PipelineError(
                f"{tarball}: manifest.csv is not readable ({error!r}). Correct it"
            ) from error


def split_files(
    tarball: Path, config: ClassifierConfig, shard: int = 0
) -> dict[str, npt.NDArray[np.bool_]]:
    """Splits the image files of a shard at random by the data seed, in equal numbers per class.

    Returns:
        For "train", "validation" and "test": which files of `read_tarball`, in its order, bool [n].

    Raises:
        PipelineError: see `read_tarball`; a file is not an image, or a class has too few images.
    """
    numbers = _per_class(config)
    labels = _labels(config)
    files: list[list[tuple[int, int]]] = [[] for _ in labels]  # digest and place, by label
    for place, (name, content) in enumerate(read_tarball(tarball, config, is_first=True)):
        with open_image(name, content):
            pass  # also of files that are not drawn: an error for every seed
        files[labels[name.partition("/")[0]]].append((digest(name.encode()), place))
    masks = np.zeros((len(numbers[0]), sum(map(len, files))), np.bool_)
    for class_name, found, counts in zip(labels, files, numbers, strict=True):
        own = share(sum(counts), shard, config.n_shards)
        if len(found) < len(own):
            raise PipelineError(
                f"{tarball}: expected at least {len(own)} images of class {class_name} "
                f"(got {len(found)}). Add images, or lower n_train_samples, n_validation_samples "
                "and n_test_samples"
            )
        random = Random(f"{config.data_seed}/{class_name}/{shard}")
        # Sorted by digest, so that the order in the tar file does not matter.
        places = [place for _, place in random.sample(sorted(found), len(own))]
        # The sizes of all shards add up, and no share shrinks from one end to the next.
        ends = (sum(counts[:i]) for i in range(len(counts) + 1))
        cuts = [len(share(end, shard, config.n_shards)) for end in ends]
        for mask, first, last in zip(masks, cuts, cuts[1:], strict=False):
            mask[places[first:last]] = True
    return dict(zip(_SPLIT_BY_SEED, masks, strict=True))


def _per_class(config: ClassifierConfig) -> list[list[int]]:
    """Returns the number of images of each class, then of none, in each of _SPLIT_BY_SEED."""
    totals = [getattr(config, f"n_{split}_samples") for split in _SPLIT_BY_SEED]
    if any(total % config.n_classes for total in totals):
        raise PipelineError(
            f"params.yaml: {config.section}: n_train_samples, n_validation_samples and "
            f"n_test_samples must be multiples of {config.n_classes} "
            f"(got {totals[0]}, {totals[1]} and {totals[2]}). Change them"
        )
    per_class = [[total // config.n_classes for total in totals]] * config.n_classes
    return per_class + [[config.n_none(n) for n in totals]] * (config.n_outputs - config.n_classes)


def read_examples(
    tarball: Path, config: ClassifierConfig, chosen: npt.NDArray[np.bool_] | None = None
) -> Iterator[Example]:
    """Yields the images of a tar file in its order: all, or those that `split_files` has chosen.

    See `decode_image` and `read_tarball` for errors.
    """
    labels = _labels(config)
    files = read_tarball(tarball, config, is_first=chosen is None)
    for name, content in files if chosen is None else compress(files, chosen):
        image = decode_image(name, content, config)
        yield Example(image, labels[name.partition("/")[0]], name)


def read_shard(config: ClassifierConfig, shard: int, tarballs: tuple[Path, ...]) -> Splits:
    """Returns the examples of each split in a shard; see `write_shards`.

    The validation split has images of the tar files "letters" and all of those "validation".
    """
    letters, validation, unseen = tarballs
    masks = split_files(letters, config, shard)
    splits = {name: read_examples(letters, config, mask) for name, mask in masks.items()}
    splits["validation"] = chain(splits["validation"], read_examples(validation, config))
    return {**splits, "unseen": read_examples(unseen, config)}


def list_sources(raw: Path, config: ClassifierConfig) -> list[tuple[Path, ...]]:
    """Returns the tar files that each shard's examples are read from."""
    return list(zip(*(list_tarballs(raw / name, config) for name in SETS), strict=True))


def list_tarballs(folder: Path, config: ClassifierConfig) -> list[Path]:
    """Returns the tar files of a folder, one per shard."""
    return shard_paths(folder, ".tar", config.n_shards)
