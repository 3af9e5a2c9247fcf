"""The standard network in NumPy: predictions need not wait for TensorFlow's import.

`model/` defines the network; the tests compare the two.
"""

from itertools import chain
from pathlib import Path

import numpy as np

from letterpress.core.config import ClassifierConfig
from letterpress.core.weights import open_weights, read_arrays
from letterpress.evaluation.calibration import Probabilities
from letterpress.prediction.ink import Floats

Shape = tuple[int, ...]
_EPSILON = 0.001  # of Keras's batch normalization
_FEATURES = "layers/sequential/layers/"  # where Keras saves the layers of the feature extractor


class Classifier:
    """A trained classifier of the standard network. It computes in float32 whatever the policy.

    Args:
        config: the network: image_shape, blocks, dense_units and n_outputs.
        weights: a .weights.h5 file that `model/network.py`'s classifier saved.

    Raises:
        PipelineError: the file is missing or damaged, its arrays are not exactly those of the
            network, or they are not finite float32 numbers.
    """

    def __init__(self, config: ClassifierConfig, weights: Path) -> None:
        self._blocks = config.blocks
        self._weights = _read(weights, _list_shapes(config))

    def predict_on_batch(self, images: Floats) -> Probabilities:
        """Returns the probabilities [batch, n_outputs] of images, float32 0..1 [batch, h, w, c]."""
        with np.errstate(all="ignore"):  # no warnings: `classify` checks the outputs
            return np.stack([self._classify(image) for image in images])

    def _classify(self, values: Floats) -> Floats:
        """Returns the probabilities [n_outputs] of an image [h, w, c]."""
        index = 0
        for block in self._blocks:
            for number, _ in enumerate(block, 1):
                values = self._convolve(values, index)
                values = np.maximum(_pool(values) if number == len(block) else values, 0)
                values = self._normalize(values, _FEATURES, index)
                index += 1
        values = np.maximum(self._connect(values.ravel(), 0), 0)
        logits = self._connect(self._normalize(values, "layers/", 0), 1)
        powers = np.exp(logits - logits.max())  # no overflow
        probabilities: Floats = powers / powers.sum()
        return probabilities

    def _convolve(self, image: Floats, index: int) -> Floats:
        """Convolves with 3 x 3 pixels. The size stays: the image is padded with 0."""
        kernel, bias = self._layer(f"{_FEATURES}conv2d", index)
        height, width = image.shape[:2]
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        shifted = [padded[y : y + height, x : x + width] for y, x in np.ndindex(3, 3)]
        # One product of matrices: each row has the 3 x 3 pixels around a pixel.
        return np.concatenate(shifted, axis=2) @ kernel.reshape(-1, len(bias)) + bias

    def _normalize(self, values: Floats, place: str, index: int) -> Floats:
        gamma, beta, mean, variance = self._layer(f"{place}batch_normalization", index)
        scale: Floats = gamma / np.sqrt(variance + np.float32(_EPSILON))
        return values * scale + (beta - mean * scale)

    def _connect(self, values: Floats, index: int) -> Floats:
        kernel, bias = self._layer("layers/dense", index)
        return values @ kernel + bias

    def _layer(self, name: str, index: int) -> list[Floats]:
        prefix = f"{_numbered(name, index)}/"
        return [array for key, array in self._weights.items() if key.startswith(prefix)]


def _pool(image: Floats) -> Floats:
    """Returns the maximum of each 2 x 2 pixels. An odd last row or column is left out."""
    height, width = (side // 2 for side in image.shape[:2])
    pairs = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1)
    pooled: Floats = pairs.max(axis=(1, 3))
    return pooled


def _numbered(name: str, index: int) -> str:
    """Returns how Keras names the layers of one kind: dense, dense_1, dense_2."""
    return f"{name}_{index}" if index else name


def _list_shapes(config: ClassifierConfig) -> dict[str, Shape]:
    """Returns the shape of each array in the weights file, by its name, in Keras's order."""
    layers: dict[str, list[Shape]] = {}
    n_inputs = config.n_channels
    for index, n_filters in enumerate(chain(*config.blocks)):
        name = _numbered(f"{_FEATURES}conv2d", index)
        layers[name] = [(3, 3, n_inputs, n_filters), (n_filters,)]
        layers[_numbered(f"{_FEATURES}batch_normalization", index)] = [(n_filters,)] * 4
        n_inputs = n_filters
    height, width = (s >> len(config.blocks) for s in (config.image_height, config.image_width))
    n_units, n_outputs = config.dense_units, config.n_outputs
    layers["layers/dense"] = [(height * width * n_inputs, n_units), (n_units,)]
    layers["layers/batch_normalization"] = [(n_units,)] * 4
    layers["layers/dense_1"] = [(n_units, n_outputs), (n_outputs,)]
    return {
        f"{name}/vars/{number}": shape
        for name, shapes in layers.items()
        for number, shape in enumerate(shapes)
    }


def _read(path: Path, expected: dict[str, Shape]) -> dict[str, Floats]:
    """Reads the arrays of these names and shapes, and no others, in this order."""
    with open_weights(path, "classifier") as found:
        for name in sorted(found.keys() | expected.keys()):  # before any array is read
            shape = found[name].shape if name in found else None
            if shape != expected.get(name):
                raise ValueError(f"{name} has shape {shape}, expected {expected.get(name)}")
        return read_arrays({name: found[name] for name in expected})
