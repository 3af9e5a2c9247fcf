"""MNIST as its authors publish it: four IDX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.mnist.errors import PipelineError
from stages.mnist.idx import read_idx

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_examples(folder: Path, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Reads a split of MNIST.

    Args:
        folder: holds the FILES.
        split: "train" or "t10k".

    Returns:
        Images, uint8 0..255 [n, height, width], and their labels, uint8 [n].

    Raises:
        PipelineError: a file is not what it should be, or the numbers of images and labels differ.
    """
    images = read_idx(folder / f"{split}-images-idx3-ubyte", 3)
    labels = read_idx(folder / f"{split}-labels-idx1-ubyte", 1)
    if len(images) != len(labels):
        raise PipelineError(
            f"{folder}: {len(images)} {split} images but {len(labels)} labels; fetch them again"
        )
    return images, labels
