"""Reads IDX files, the format in which MNIST's authors publish it.

An IDX file is a magic number (two zero bytes, a type code, the number of dimensions), the size of
each dimension as a big-endian 32-bit integer, then the values in row-major order.
"""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from letterpress.core.errors import PipelineError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

_UNSIGNED_BYTE = 0x08


def read_digits(folder: Path, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Reads the split "train" or "t10k": images, uint8 0..255 [n, height, width], labels, uint8 [n].

    Raises:
        PipelineError: a file is damaged, or there are more images than labels or fewer.
        FileNotFoundError: a file is missing.
    """
    images = read_idx(folder / f"{split}-images-idx3-ubyte", 3)
    labels = read_idx(folder / f"{split}-labels-idx1-ubyte", 1)
    if len(images) != len(labels):
        raise PipelineError(
            f"{folder}: expected one {split} label per image (got {len(labels)} labels and "
            f"{len(images)} images). Delete the folder and run `dvc repro`"
        )
    return images, labels


def read_idx(path: Path, n_dimensions: int) -> npt.NDArray[np.uint8]:
    """Reads an uncompressed IDX file of unsigned bytes, read-only, in the shape that it states.

    Raises:
        PipelineError: the file is of another kind, or shorter or longer than it states.
        FileNotFoundError: the file is missing.
    """
    content = path.read_bytes()
    header = 4 + 4 * n_dimensions
    magic = bytes((0, 0, _UNSIGNED_BYTE, n_dimensions))
    if content[:4] != magic or len(content) < header:
        raise PipelineError(
            f"{path}: not an IDX file of {n_dimensions} dimensions (got {content[:4].hex()!r}, "
            f"expected {magic.hex()!r}). Delete the file and run `dvc repro`"
        )
    shape = struct.unpack(f">{n_dimensions}I", content[4:header])
    values = np.frombuffer(content, np.uint8, offset=header)
    expected = int(np.prod(shape, dtype=object))  # exact: 64 bits could overflow
    if len(values) != expected:
        raise PipelineError(
            f"{path}: expected {expected} bytes of values, as its header states "
            f"(got {len(values)}). Delete the file and run `dvc repro`"
        )
    return values.reshape(shape)
