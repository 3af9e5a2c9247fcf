"""A tar file of labelled images: one folder a class, a file an image. Anybody's will do.

    a/00000.png, a/00001.png, b/00000.png ...    class/name, in any order, in any format of Pillow's
    manifest.csv                                 file,typeface,family,style,case; may be left out

What is written here is not compressed: zlib and its replacements give different bytes for the same
content. Any compression that tarfile knows is read.
"""

from __future__ import annotations

import csv
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError

_PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    NotImplementedError,
    Image.DecompressionBombError,
)


class Letter(NamedTuple):
    """A drawn letter and what the manifest says of it."""

    filename: str
    """class/number.png"""
    png: bytes
    typeface: str
    family: str
    style: str
    case: str
    """capital or small"""


def write_tarball(target: Path, letters: Iterable[Letter]) -> None:
    """Writes letters and their manifest to an uncompressed tar file without owners and times."""
    manifest = io.StringIO()
    table = csv.writer(manifest, lineterminator="\n")
    table.writerow(("file", "typeface", "family", "style", "case"))
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for letter in tqdm(letters, target.name, unit=" letters", disable=None):
            table.writerow((letter.filename, *letter[2:]))
            _add(tar, letter.filename, letter.png)
        _add(tar, "manifest.csv", manifest.getvalue().encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def read_tarball(tarball: Path, config: MnistConfig) -> Iterator[tuple[str, bytes]]:
    """Yields name, class/file, and content of each image file; leaves the manifest out.

    Raises:
        PipelineError: the tarball cannot be read or is damaged, or has a member that is no file in
            the folder of a class, or one name twice.
    """
    seen: set[str] = set()
    try:
        with tarfile.open(tarball) as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if member.isdir() or name == "manifest.csv":
                    continue
                file = tar.extractfile(member) if member.isreg() else None
                folder, _, base = name.partition("/")
                if file is None or folder not in config.class_names or not base or "/" in base:
                    raise PipelineError(
                        f"{tarball}: {name!r} is no file in the folder of a class "
                        f"({config.class_names[0]}/ to {config.class_names[-1]}/): take it out"
                    )
                if name in seen:
                    raise PipelineError(f"{tarball}: {name!r} stands there twice: take one out")
                seen.add(name)
                yield name, file.read()
            _check_end(tar)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(f"{tarball}: cannot be read as a tarball: {reason}") from error


def read_manifest(tarball: Path) -> dict[str, dict[str, str]]:
    """Reads the rows of a tarball's manifest by file.

    Raises:
        PipelineError: the tarball cannot be read, or has no manifest.
    """
    try:
        with tarfile.open(tarball) as tar:
            names = [name for name in tar.getnames() if name.removeprefix("./") == "manifest.csv"]
            file = tar.extractfile(names[0]) if names else None
            if file is None:
                raise PipelineError(f"{tarball} has no manifest.csv")
            return {row["file"]: row for row in csv.DictReader(io.TextIOWrapper(file, "utf-8"))}
    except (
        OSError,
        EOFError,
        KeyError,
        UnicodeDecodeError,
        csv.Error,
        zlib.error,
        lzma.LZMAError,
        tarfile.TarError,
    ) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(f"{tarball}: its manifest cannot be read: {reason}") from error


def _check_end(tar: tarfile.TarFile) -> None:
    """Raises a TarError unless the archive ends as one does; tarfile takes any damage for the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0") or tar.fileobj.tell() == tar.offset:
        raise tarfile.ReadError(f"damaged or cut off at byte {tar.offset}")


def decode_image(name: str, content: bytes, config: MnistConfig) -> npt.NDArray[np.uint8]:
    """Decodes an image file: uint8 0..255 [image_height, image_width, n_channels].

    Raises:
        PipelineError: it is no image, or not of the size and the mode that the config says.
    """
    size = config.image_width, config.image_height
    mode = "L" if config.n_channels == 1 else "RGB"
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.size != size or image.mode != mode:
                raise PipelineError(
                    f"{name}: an image of {image.width}x{image.height} pixels in mode {image.mode}, "
                    f"the params ask for {size[0]}x{size[1]} in mode {mode}"
                )
            return np.asarray(image).reshape(config.image_shape)
    except _PILLOW_ERRORS as error:
        raise PipelineError(f"{name}: cannot be read as an image: {error}") from error
