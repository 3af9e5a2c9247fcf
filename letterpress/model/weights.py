"""Loads weights that must match a model exactly."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.weights import open_weights, read_arrays
from letterpress.model.network import build_classifier, build_features


def load_weights(model: Any, path: Path) -> None:
    """Loads all weights of `model` from a .weights.h5 file that the same architecture saved.

    Raises:
        PipelineError: the file is missing or damaged, its weights are not exactly the model's, or
            they are not finite float32 numbers. The model may then have some of them.
    """
    with open_weights(path, model.name) as arrays:
        # Keras ignores surplus arrays in the file, and converts other types.
        _check_shapes(path, arrays, Counter(tuple(weight.shape) for weight in model.weights))
        read_arrays(arrays)
        model.load_weights(path)


def load_classifier(config: ClassifierConfig, path: Path) -> Any:
    """Builds the trained classifier of a config from its weights; see `load_weights`."""
    classifier = build_classifier(config)
    load_weights(classifier, path)
    return classifier


def load_features(features: Any, path: Path, config: ClassifierConfig) -> None:
    """Loads a parent's weights into a feature extractor that `build_features(config)` made.

    With config.match_channels, the parent's images may have another number of channels: the first
    kernels of a grey parent are repeated for red, green and blue and divided by three, those of an
    RGB parent are added up. Either way grey images have the same features as in the parent.

    Raises:
        PipelineError: see `load_weights`.
    """
    if not config.match_channels or _first_channels(path) in (None, config.n_channels):
        load_weights(features, path)
        return
    parent = build_features(config.replace(n_channels=4 - config.n_channels))  # 1 or 3
    load_weights(parent, path)
    kernel, *others = parent.get_weights()  # [3, 3, n_channels, n_filters]
    kernel = kernel.sum(axis=2, keepdims=True).repeat(config.n_channels, axis=2)
    features.set_weights([kernel / config.n_channels, *others])


def _first_channels(path: Path) -> int | None:
    """Returns the number of channels of the images that a file's first convolution reads."""
    with open_weights(path, "features") as arrays:
        shape: tuple[int, ...] = getattr(arrays.get("layers/conv2d/vars/0"), "shape", ())
        return int(shape[2]) if len(shape) == 4 else None  # `load_weights` reports it


def _check_shapes(path: Path, arrays: dict[str, Any], expected: Counter[tuple[int, ...]]) -> None:
    """Raises a ValueError unless the arrays have these shapes."""
    for name, array in arrays.items():
        if not expected[array.shape]:
            _check_channels(path, array.shape, expected)
            raise ValueError(f"{name} has shape {array.shape}, expected none of it")
        expected[array.shape] -= 1
    if missing := [shape for shape, n in expected.items() if n]:
        raise ValueError(f"no array has shape {missing[0]}, expected one more")


def _check_channels(
    path: Path, shape: tuple[int, ...], expected: Iterable[tuple[int, ...]]
) -> None:
    """Raises a PipelineError if this convolution's kernel only has other input channels."""
    for height, width, n_channels, n_outputs in (other for other in expected if len(other) == 4):
        # A slice, because `shape` may have fewer than three dimensions.
        if shape == (height, width, *shape[2:3], n_outputs):
            raise PipelineError(
                f"{path}: weights for images of {n_channels} channels expected (got {shape[2]}). Set "
                "n_channels of parent and child alike, match_channels to true, or pretrained_features to "
                "false"
            )
