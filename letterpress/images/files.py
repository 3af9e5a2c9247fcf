"""Lists and reads images in class folders, inside a folder, a tar file or a zip file.

    rose/1.jpg  tulip/2.png ...                  class/name; folders inside a class belong to it
    train/rose/1.jpg  test/rose/2.jpg ...        with split folders; validation/ or test/ may lack

There may be folders around everything. Names are read in Unicode's composed form (NFC); class
folders that differ only in case are one class. Files of macOS and Windows are skipped.
"""

import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from unicodedata import normalize

from PIL import Image

from letterpress.core.errors import PipelineError
from letterpress.records.example import digest
from letterpress.records.tarball import (
    FORBIDDEN,
    MOST_BYTES,
    MOST_EXPANDED,
    MOST_EXPANSION,
    is_system_file,
    open_tar,
)

File = tuple[str, Callable[[], bytes]]
"""A name with slashes, in NFC, and what reads the content. Call it before the next file is read."""

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The split of each name that a split folder may have."""
_ENCRYPTED = 1  # a flag of a member of a zip file
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
"""A zip file's first bytes. `zipfile.is_zipfile` also accepts a tar file with a zip file in it."""


class Layout(NamedTuple):
    """Where the class folders are."""

    depth: int
    """The number of folders around everything."""
    has_splits: bool
    """Whether the next folder is that of a split."""

    def place(self, name: str) -> tuple[str, str, str] | None:
        """Returns the split ("train" if there are none), class folder and name in it of a file.

        None if the file is not in a class folder.
        """
        parts = name.split("/")[self.depth :]
        split = "train"
        if self.has_splits:
            split, parts = _SPLITS.get(parts[0].lower(), "") if parts else "", parts[1:]
        return (split, parts[0], "/".join(parts[1:])) if split and len(parts) > 1 else None


def find_layout(folders: Iterable[str]) -> Layout:
    """Finds where the class folders are, from the folders that images are in."""
    parts = [folder.split("/") for folder in {*folders} if folder]
    depth = 0
    while len({path[depth] for path in parts if len(path) > depth}) == 1:
        if not any(len(path) > depth + 1 for path in parts):
            break
        depth += 1
    # A test folder without class folders, as of a competition, is not a class beside train/.
    splits = [(_SPLITS.get(p[depth].lower()), len(p) > depth + 1) for p in parts if len(p) > depth]
    others = {name for name, _ in splits} & {"validation", "test"}
    return Layout(depth, ("train", True) in splits and bool(others))


def is_split_name(name: str) -> bool:
    """Whether a folder of this name may be that of a split."""
    return name.lower() in _SPLITS


def is_image_name(name: str) -> bool:
    """Whether a file may be an image: Pillow reads files of this ending, or it has no ending."""
    suffix = PurePosixPath(name).suffix.lower()
    return not suffix or suffix in _endings() or bool(re.fullmatch(r"\.\d+", suffix))


@cache
def _endings() -> set[str]:
    Image.init()
    return {ending for ending, name in Image.EXTENSION.items() if name in Image.OPEN}


@contextmanager
def open_files(source: Path) -> Iterator[Iterator[File]]:
    """Yields the files of a folder in a fixed random order, or of a tar or zip file in its own.

    Files of the operating system are skipped. Reading a link, or a damaged member of a zip file,
    raises a PipelineError too.

    Raises:
        FileNotFoundError: `source` does not exist.
        PipelineError: a folder cannot be listed, the tar or zip file is damaged, encrypted or a bomb, or
            has a duplicate file, or a name has control characters, is not UTF-8, or leads out of its
            folder.
    """
    if source.is_dir():
        yield _filtered(source, _walk(source))
    elif _is_zip(source):
        with _reporting(source):
            archive = zipfile.ZipFile(source)
        with archive:
            yield _filtered(source, _unzip(source, archive))
    else:
        with open_tar(source) as tar:
            yield _filtered(source, _untar(tar))


def _is_zip(source: Path) -> bool:
    with source.open("rb") as file:
        return file.read(4) in _ZIP


def _filtered(source: Path, files: Iterable[File]) -> Iterator[File]:
    seen: set[int] = set()  # digests, as names would need more memory
    for name, read in files:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        name = normalize("NFC", "/".join(parts))
        if is_system_file(name):
            continue
        if FORBIDDEN.search(name):
            raise PipelineError(
                f"{source}: {name!r} has a control character or is not UTF-8. Rename it"
            )
        if ".." in parts:
            raise PipelineError(f"{source}: {name!r} leads out of its folder. Pack it again")
        if (key := digest(name.encode())) in seen:
            raise PipelineError(f"{source}: duplicate file {name!r}. Remove one")
        seen.add(key)
        yield name, read


def _refuse(name: str) -> bytes:
    raise PipelineError(f"{name}: a link, or not a file. Replace it by the file itself")


def _refuse_folder(error: OSError) -> None:
    raise PipelineError(f"{error.filename}: {error.strerror}. Make it readable") from error


def _walk(folder: Path) -> Iterator[File]:
    """Mixes the classes, as training shuffles no more than config.shuffle_buffer images at once."""
    names = [
        Path(os.path.relpath(path, folder), name).as_posix()
        for path, folders, names in os.walk(folder, onerror=_refuse_folder)
        for name in [*names, *(n for n in folders if Path(path, n).is_symlink())]
    ]
    for name in sorted(names, key=lambda name: digest(os.fsencode(name))):
        yield name, partial(_read_file, folder / name)


def _read_file(path: Path) -> bytes:
    if not path.is_file():  # reading a pipe or a device might never end
        return _refuse(str(path))
    if path.stat().st_size > MOST_BYTES:
        raise PipelineError(f"{path}: larger than {MOST_BYTES} bytes. Remove it")
    try:
        return path.read_bytes()
    except OSError as error:
        raise PipelineError(f"{path}: {error.strerror}. Make it readable") from error


def _untar(tar: Any) -> Iterator[File]:
    for member, name in tar.files():
        yield name, partial(tar.content, member) if member.isreg() else partial(_refuse, name)


def _unzip(source: Path, archive: zipfile.ZipFile) -> Iterator[File]:
    end, expanded = max(MOST_EXPANDED, MOST_EXPANSION * source.stat().st_size), 0
    for member in archive.infolist():
        expanded += member.file_size
        if member.file_size > MOST_BYTES or expanded > end:
            raise PipelineError(f"{source}: expands to more than {end} bytes. Unpack it yourself")
        if member.flag_bits & _ENCRYPTED:
            raise PipelineError(f"{source}: encrypted. Unpack it, and name the folder")
        name = member.filename.replace("\\", "/")
        if stat.S_ISLNK(member.external_attr >> 16):
            yield name, partial(_refuse, name)
        elif not name.endswith("/"):
            yield name, partial(_read_member, source, archive, member)


def _read_member(source: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with _reporting(source):
        return archive.read(member)


@contextmanager
def _reporting(source: Path) -> Iterator[None]:
    """Turns the errors of a damaged zip file, which may be almost any, into a PipelineError."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{source}: not readable as a zip file ({reason:.200}). Pack it again"
        ) from error
