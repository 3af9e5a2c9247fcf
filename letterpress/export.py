"""Writes a trained classifier in formats that other programs read.

The command line reads SUFFIXES: what takes long to import is imported in the functions.
"""

import json
import tempfile
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letterpress.core.config import STANDARD
from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing

if TYPE_CHECKING:
    from letterpress.loading import Classifier

SUFFIXES = {"keras": ".keras", "savedmodel": ".savedmodel", "litert": ".tflite", "onnx": ".onnx"}
"""The suffix of what each format writes: a SavedModel is a folder, the others are files."""


def export(classifier: "Classifier", folder: Path, formats: Sequence[str]) -> None:
    """Writes NAME.SUFFIX for each format of SUFFIXES, and NAME.json, which describes them.

    The networks take images, float32 0..1 [batch, image_height, image_width, n_channels], and
    return the calibrated probabilities, float32 0..1 [batch, n_outputs], that `predict` prints.

    Raises:
        PipelineError: the weights are missing or damaged, or a package for ONNX is not installed.
    """
    for package in ("onnx", "tf2onnx"):  # before the other formats are written
        if "onnx" in formats and not find_spec(package):
            raise PipelineError(
                f"onnx: the package {package} is not installed. Run `make install`, or "
                "`pip install onnx tf2onnx`"
            )
    description, model = classifier.describe(calibrated=True), _build(classifier)
    for name in formats:
        with replacing(folder / f"{classifier.name}{SUFFIXES[name]}") as path:
            _write(name, path, model, description)
        print(f"{folder / path.name}: {name}")
    with replacing(folder / f"{classifier.name}.json") as path:
        path.write_text(description, encoding="utf-8")


def _build(classifier: "Classifier") -> Any:
    """Builds the network in float32, with the temperature in the weights of its last layer."""
    from letterpress.model.weights import load_classifier

    model = load_classifier(classifier.config.replace(dtype_policy="float32"), classifier.weights)
    if classifier.config.architecture == STANDARD:
        model = _in_plain_keras(model)
    last, temperature = model.layers[-1], classifier.calibration.temperature
    last.set_weights([weight / temperature for weight in last.get_weights()])  # divides the logits
    return model


def _in_plain_keras(model: Any) -> Any:
    """Returns a copy without layers of this project: a .keras file must open without its code."""
    from letterpress.core.tensorflow import keras
    from letterpress.model.normalization import BatchNormalization

    def plain(layer: Any) -> Any:
        own = isinstance(layer, BatchNormalization)
        kind = keras.layers.BatchNormalization if own else type(layer)
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=plain, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _write(name: str, path: Path, model: Any, description: str) -> None:
    from letterpress.core.tensorflow import keras, tf

    inputs = [keras.InputSpec(shape=model.input_shape, dtype="float32", name="images")]
    if name == "keras":
        model.save(path)
    elif name == "savedmodel":
        model.export(path, format="tf_saved_model", verbose=False, input_signature=inputs)
    elif name == "litert":  # Keras writes it itself only from Python 3.11 on
        with tempfile.TemporaryDirectory() as folder:
            _write("savedmodel", Path(folder), model, description)
            path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())
    else:
        import onnx

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Keras sets np.object
            model.export(path, format="onnx", verbose=False, input_signature=inputs)
        written = onnx.load(path)  # again, as Keras passes no metadata to tf2onnx
        values = json.loads(description).items()
        onnx.helper.set_model_props(
            written, {key: json.dumps(value, allow_nan=False) for key, value in values}
        )
        onnx.save(written, path)
