"""What data sets of all pipelines consist of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Example(NamedTuple):
    """An image and what is known of it."""

    image: npt.NDArray[np.uint8]
    """uint8 0..255 [height, width, channels]."""
    label: int
    """0 .. n_classes - 1."""
    filename: str
    """The image's name in its source."""
