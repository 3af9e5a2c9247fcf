"""Loads weights that must match a model exactly."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from letterpress.core.errors import PipelineError


def load_weights(model: Any, path: Path) -> None:
    """Loads all weights of `model` from a .weights.h5 file that the same architecture saved.

    Raises:
        PipelineError: the file is missing or damaged, its weights are not exactly the model's, or
            they are not finite float32 numbers. The model may then have some of them.
    """
    if not path.is_file():
        raise PipelineError(f"{path}: missing. Run `dvc repro`, or `dvc pull` if there is a remote")
    try:
        with h5py.File(path) as file:
            # Keras ignores surplus arrays in the file, and converts other types.
            shapes = Counter(tuple(weight.shape) for weight in model.weights)
            _check_arrays(path, _arrays(file), shapes)
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


def _check_arrays(path: Path, arrays: dict[str, Any], expected: Counter[tuple[int, ...]]) -> None:
    """Raises a ValueError unless the arrays have these shapes and are finite float32 numbers."""
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{name} has dtype {array.dtype}, expected float32")
        if not expected[array.shape]:
            _check_channels(path, array.shape, expected)
            raise ValueError(f"{name} has shape {array.shape}, expected none of it")
        expected[array.shape] -= 1
    if missing := [shape for shape, n in expected.items() if n]:
        raise ValueError(f"no array has shape {missing[0]}, expected one more")
    for name, array in arrays.items():  # after their sizes are known
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has NaN or infinite values")


def _check_channels(
    path: Path, shape: tuple[int, ...], expected: Iterable[tuple[int, ...]]
) -> None:
    """Raises a PipelineError if this convolution's kernel only has other input channels."""
    for height, width, n_channels, n_outputs in (other for other in expected if len(other) == 4):
        if shape == (height, width, *shape[2:3], n_outputs):
            raise PipelineError(
                f"{path}: weights for images of {n_channels} channels expected (got {shape[2]}). Set "
                "n_channels of parent and child alike, or pretrained_features to false"
            )
