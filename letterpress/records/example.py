"""An example: what the data sets of all pipelines consist of."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Example(NamedTuple):
    """An image with its label."""

    image: npt.NDArray[np.uint8]
    """uint8 0..255 [height, width, channels]."""
    label: int
    """0 .. n_classes - 1, or n_classes for an image of no class."""
    filename: str
    """The image's name in its source."""


Splits = Mapping[str, Iterable[Example]]
"""The examples of each split, by its name."""


def digest(content: bytes) -> int:
    """Returns 64 bits of a content's BLAKE2b hash, the same number on every machine.

    For a million different contents, the probability that any two share it is 3e-8.
    """
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
