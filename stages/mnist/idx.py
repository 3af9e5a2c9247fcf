"""Reads IDX, the format of the original MNIST files.

An IDX file is a magic number (two zero bytes, a type code, the number of dimensions), the size of
each dimension as a big-endian 32-bit integer, then the values in row-major order.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.mnist.errors import PipelineError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, n_dimensions: int) -> npt.NDArray[np.uint8]:
    """Reads unsigned bytes.

    Args:
        path: an uncompressed IDX file.
        n_dimensions: 3 for images [n, height, width], 1 for labels [n].

    Returns:
        The values, uint8 0..255, read-only, in the shape that the file states.

    Raises:
        PipelineError: the file is no IDX file of that kind, or shorter or longer than it states.
    """
    content = path.read_bytes()
    header = 4 + 4 * n_dimensions
    magic = bytes((0, 0, _UNSIGNED_BYTE, n_dimensions))
    if content[:4] != magic or len(content) < header:
        raise PipelineError(
            f"{path}: not an IDX file of {n_dimensions} dimensions: it starts with "
            f"{content[:4].hex() or 'nothing'}, not {magic.hex()}; fetch it again"
        )
    shape = struct.unpack(f">{n_dimensions}I", content[4:header])
    values = np.frombuffer(content, np.uint8, offset=header)
    expected = int(np.prod(shape, dtype=object))
    if len(values) != expected:
        raise PipelineError(
            f"{path}: states {expected} bytes of values and holds {len(values)}; fetch it again"
        )
    return values.reshape(shape)
