"""A tar file of labelled images: one folder a class, a file an image. Anybody's will do.

    a/00000.png, a/00001.png, b/00000.png ...    class/name, in any order, in any format of Pillow's
    manifest.csv                                 file,typeface,family,style,case; may be left out

Any compression that tarfile knows is read.
"""

from __future__ import annotations

import csv
import io
import lzma
import tarfile
import warnings
import zlib
from array import array
from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from stages.mnist.config import MnistConfig
from stages.mnist.digests import digest, repeated
from stages.mnist.errors import PipelineError
from stages.mnist.example import Example
from stages.mnist.shards import share

_MOST_BYTES = 1 << 27
"""More than an image file has, less than a bomb."""
_MOST_EXPANDED, _MOST_EXPANSION = 1 << 30, 100
"""Bytes to read, and how many times the tarball's own size: a bomb has more than both."""


class _Member(tarfile.TarInfo):
    """A member that fits into memory, its name and its other attributes too, however long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        member = super().frombuf(buf, encoding, errors)
        _check_size(member)
        return member


def _check_size(member: tarfile.TarInfo) -> None:
    if member.size > _MOST_BYTES:
        raise tarfile.TarError(f"{member.name!r} is larger than {_MOST_BYTES} bytes")


def read_tarball(tarball: Path, config: MnistConfig) -> Iterator[tuple[str, bytes]]:
    """Yields name, class/file, and content of each image file; leaves the manifest out.

    That a name stands there twice is said at the end.

    Raises:
        PipelineError: the tarball cannot be read or is damaged or a bomb, or has a member that is
            no file in the folder of a class, a name that cannot be printed, or one name twice.
    """
    digests = array("Q")
    try:
        with tarfile.open(tarball, tarinfo=_Member) as tar:
            most_expanded = max(_MOST_EXPANDED, _MOST_EXPANSION * tarball.stat().st_size)
            for member in iter(tar.next, None):
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep half a kilobyte for each
                name = member.name.removeprefix("./")
                if tar.offset > most_expanded:
                    raise tarfile.TarError(f"expands to more than {most_expanded} bytes")
                if member.isdir() or name == "manifest.csv":
                    continue
                file = tar.extractfile(member) if member.isreg() else None
                folder, _, base = name.partition("/")
                if file is None or folder not in config.class_names or not base or "/" in base:
                    raise PipelineError(
                        f"{tarball}: {name!r} is no file in the folder of a class "
                        f"({config.class_names[0]}/ to {config.class_names[-1]}/): take it out"
                    )
                if not name.isprintable():
                    raise PipelineError(f"{tarball}: {name!r} cannot be printed: rename it")
                digests.append(digest(name.encode()))
                _check_size(member)  # again: that of a sparse file was not in its header
                yield name, file.read()
            _check_end(tar)
        twice = repeated(digests)
        if twice is not None:
            names = (name for name, _ in read_tarball(tarball, config))
            name = next(name for name in names if digest(name.encode()) == twice)
            raise PipelineError(f"{tarball}: {name!r} stands there twice: take one out")
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(f"{tarball}: cannot be read as a tarball: {reason}") from error


def read_manifest(tarball: Path) -> dict[str, dict[str, str]]:
    """Reads the rows of a tarball's manifest by file.

    Raises:
        PipelineError: the tarball cannot be read, or has no manifest.
    """
    try:
        with tarfile.open(tarball, tarinfo=_Member) as tar:
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


def decode_image(
    name: str, content: bytes, config: MnistConfig, fit: bool = False
) -> npt.NDArray[np.uint8]:
    """Decodes an image file: uint8 0..255 [image_height, image_width, n_channels].

    Args:
        name: what an error calls it.
        content: the bytes of the file.
        config: image_height, image_width, and n_channels, for mode L or RGB.
        fit: any size and mode is made to fit: converted, scaled with its aspect ratio, on black.

    Raises:
        PipelineError: it is no image, or (unless `fit`) of another size or mode.
    """
    size = config.image_width, config.image_height
    mode = "L" if config.n_channels == 1 else "RGB"
    try:
        with warnings.catch_warnings():
            # A size that must be this one is compared, any other must not be a bomb's.
            warnings.simplefilter("error" if fit else "ignore", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(content))
        with opened:
            image: Image.Image = opened
            if fit:
                image = ImageOps.pad(ImageOps.exif_transpose(opened).convert(mode), size)
            if image.size != size or image.mode != mode:
                raise PipelineError(
                    f"{name}: an image of {image.width}x{image.height} pixels in mode {image.mode}, "
                    f"the params ask for {size[0]}x{size[1]} in mode {mode}"
                )
            return np.asarray(image).reshape(config.image_shape)
    except PipelineError:
        raise
    except Exception as error:  # a decoder that meets damage raises almost anything
        reason = " ".join(str(error).split())
        raise PipelineError(f"{name}: cannot be read as an image: {reason}") from error


def split_files(
    tarball: Path, config: MnistConfig, shard: int = 0
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Divides the image files of a tarball, each class in the same proportion, at random by the seed.

    Args:
        tarball: the shard's.
        config: class_names, n_train_samples, n_test_samples, n_shards, seed.
        shard: 0 .. n_shards - 1. A shard has its share of the samples.

    Returns:
        For each file of `read_tarball`, in its order, whether it is for training, and whether for the
        test: bool [n], no file for both.

    Raises:
        PipelineError: the tarball cannot be read, has a file outside the classes' folders, or too
            few images of a class.
    """
    n_train, rest_train = divmod(config.n_train_samples, config.n_classes)
    n_test, rest_test = divmod(config.n_test_samples, config.n_classes)
    if rest_train or rest_test:
        raise PipelineError(
            f"params.yaml: {config.section}: n_train_samples and n_test_samples must be multiples "
            f"of n_classes ({config.n_classes}), so that each class has as many"
        )
    n_both = n_train + n_test
    own = share(n_both, shard, config.n_shards)
    n_own_train = own.stop * n_train // n_both - own.start * n_train // n_both
    labels = {name: label for label, name in enumerate(config.class_names)}
    classes, names = array("I"), array("Q")
    for name, _ in read_tarball(tarball, config):
        classes.append(labels[name.partition("/")[0]])
        names.append(digest(name.encode()))  # a million names are 60 MB, their digests 8
    train, test = np.zeros((2, len(classes)), np.bool_)
    for class_name, label in labels.items():
        (files,) = np.nonzero(np.frombuffer(classes, np.uint32) == label)
        if len(files) < len(own):
            raise PipelineError(
                f"{tarball}: {len(files)} images of the class {class_name}, the params ask for "
                f"{n_own_train} + {len(own) - n_own_train}"
            )
        files = files[
            np.argsort(np.frombuffer(names, np.uint64)[files])
        ]  # whatever the tar's order
        random = Random(f"{config.seed}/{class_name}/{shard}")
        chosen = files[random.sample(range(len(files)), len(own))]
        train[chosen[:n_own_train]] = True
        test[chosen[n_own_train:]] = True
    return train, test


def read_examples(
    tarball: Path,
    config: MnistConfig,
    chosen: npt.NDArray[np.bool_] | None = None,
    fit: bool = False,
) -> Iterator[Example]:
    """Yields images of a tarball in its order: all, or those for which `chosen` is true.

    See `split_files` for `chosen`, and `decode_image` for `fit`.

    Raises:
        PipelineError: a file is no image, or not of the size and the channels that the params say.
    """
    labels = {name: label for label, name in enumerate(config.class_names)}
    files = read_tarball(tarball, config)
    for name, content in files if chosen is None else compress(files, chosen):
        image = decode_image(name, content, config, fit)
        yield Example(image, labels[name.split("/")[0]], name)
