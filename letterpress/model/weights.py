"""Loads weights that must match a model exactly."""

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from letterpress.core.errors import PipelineError


def load_weights(model: Any, path: Path) -> None:
    """Loads all weights of `model` from a .weights.h5 file that the same architecture saved.

    Raises:
        PipelineError: the file is missing or damaged, its weights are not exactly the model's, or
            they are not finite float32 numbers.
    """
    if not path.is_file():
        raise PipelineError(f"{path}: missing. Run `dvc repro`, or `dvc pull` if there is a remote")
    try:
        with h5py.File(path) as file:
            # Keras ignores surplus arrays in the file, and converts other types.
            _check_arrays(_arrays(file), Counter(tuple(weight.shape) for weight in model.weights))
        model.load_weights(path)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{path}: not the weights of this {model.name} ({reason:.300}). "
            "Delete the file and run `dvc repro`"
        ) from error


def _arrays(file: Any) -> dict[str, Any]:
    """Returns the arrays in an HDF5 file by name. Links to other files are left out."""
    names: list[str] = []
    file.visit(names.append)
    return {name: file[name] for name in names if isinstance(file[name], h5py.Dataset)}


def _check_arrays(arrays: dict[str, Any], expected: Counter[tuple[int, ...]]) -> None:
    """Raises a ValueError unless the arrays have these shapes and are finite float32 numbers."""
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{name} has dtype {array.dtype}, expected float32")
        if not expected[array.shape]:
            raise ValueError(f"{name} has shape {array.shape}, expected none of it")
        expected[array.shape] -= 1
    if missing := [shape for shape, n in expected.items() if n]:
        raise ValueError(f"no array has shape {missing[0]}, expected one more")
    for name, array in arrays.items():  # after their sizes are known
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has NaN or infinite values")
