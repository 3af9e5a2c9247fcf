"""Loads weights that must match a model exactly."""

import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from letterpress.core.errors import PipelineError


def load_weights(model: Any, path: Path) -> None:
    """Loads all weights of `model` from a .weights.h5 file that the same architecture saved.

    Raises:
        PipelineError: the file is missing or damaged, or its weights are not exactly the model's.
    """
    if not path.is_file():
        raise PipelineError(f"{path}: missing. Run `dvc repro`, or `dvc pull` if there is a remote")
    try:
        # Keras ignores surplus arrays in the file, so compare all names and shapes first.
        with tempfile.TemporaryDirectory() as folder:
            own = Path(folder, "own.weights.h5")
            model.save_weights(own)
            expected, found = _shapes(own), _shapes(path)
        if found != expected:
            odd = min(name for name, _ in found.items() ^ expected.items())
            raise ValueError(f"{odd} has shape {found.get(odd)}, expected {expected.get(odd)}")
        model.load_weights(path)
        if any(np.isnan(weight).any() for weight in model.get_weights()):
            raise ValueError("contains NaN")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{path}: not the weights of this {model.name} ({reason:.300}). "
            "Delete the file and run `dvc repro`"
        ) from error


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array in an HDF5 file, by its name."""
    names: list[str] = []
    with h5py.File(path) as file:
        file.visit(names.append)
        return {name: file[name].shape for name in names if isinstance(file[name], h5py.Dataset)}
