"""Reads the weights files that Keras saves, without Keras."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from letterpress.core.errors import PipelineError

_LARGEST = 1e6
"""Trained weights are far smaller. Larger ones overflow to NaN, which TensorFlow may turn into 0."""


@contextmanager
def open_weights(path: Path, model: str) -> Iterator[dict[str, Any]]:
    """Yields the arrays of a .weights.h5 file by name, unread. Links to other files are left out.

    Raises:
        PipelineError: the file is missing or damaged, or the block finds that it is not that of the
            model, and raises a ValueError.
    """
    if not path.is_file():
        raise PipelineError(f"{path}: missing. Run `dvc repro`, or `dvc pull` if there is a remote")
    try:
        with h5py.File(path) as file:
            names: list[str] = []
            file.visit(names.append)
            yield {name: file[name] for name in names if isinstance(file[name], h5py.Dataset)}
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{path}: not the weights of this {model} ({reason:.300}). "
            "Delete the file and run `dvc repro`"
        ) from error


def read_arrays(arrays: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
    """Reads arrays of an open file. Check their shapes first.

    Raises:
        ValueError: an array is not float32 numbers up to _LARGEST, or not stored as Keras does.
    """
    values = {}
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{name} has dtype {array.dtype}, expected float32")
        if array.chunks or array.external or array.is_virtual:  # a bomb, or another file's bytes
            raise ValueError(f"{name} is stored in chunks or in another file")
        values[name] = array[...]
        if not (np.abs(values[name]) <= _LARGEST).all():  # NaN too
            raise ValueError(f"{name} has NaN, infinite or huge values")
    return values
