"""The network: a feature extractor that children reuse, and the classifier on top of it."""

import runpy
from pathlib import Path
from typing import Any

from letterpress.core.config import STANDARD, ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras
from letterpress.model import features


def build_features(config: ClassifierConfig) -> Any:
    """Builds the feature extractor with the function `build_features` of config.architecture.

    Returns:
        A model named "features" from images, float32 0..1 [batch, height, width, n_channels], to
        features [batch, ...]; `letterpress/model/features.py` states those of the standard one.

    Raises:
        PipelineError: the file or its function is missing, or returns something else.
    """
    keras.config.set_dtype_policy(config.dtype_policy)
    build = features.build_features
    if config.architecture != STANDARD:
        build = _read_function(Path(config.architecture))
    model = build(config)
    if not isinstance(model, keras.Model):
        raise PipelineError(
            f"{config.architecture}: build_features returned no model (got a "
            f"{type(model).__name__}). Return a keras.Model"
        )
    model.name = "features"
    return model


def _read_function(path: Path) -> Any:
    if not path.is_file():
        raise PipelineError(f"{path}: no such file. Correct architecture in params.yaml")
    build = runpy.run_path(str(path)).get("build_features")
    if not callable(build):
        raise PipelineError(f"{path}: no function build_features. Define build_features(config)")
    return build


def build_classifier(config: ClassifierConfig) -> Any:
    """Builds the classifier, which contains the feature extractor as the layer "features".

    Returns:
        A model from images, float32 0..1 [batch, image_height, image_width, n_channels], to
        probabilities, float32 [batch, n_outputs], each row of sum 1.

    Raises:
        PipelineError: the features do not fit the images, or see `build_features`.
    """
    shorter = min(config.image_height, config.image_width)
    if config.architecture == STANDARD and shorter >> len(config.blocks) < 1:
        raise PipelineError(
            f"{config.section}: {len(config.blocks)} blocks halve {shorter} pixels to nothing. "
            "Remove one from blocks, or raise image_height and image_width"
        )
    keras.config.set_dtype_policy(config.dtype_policy)
    layers = [
        keras.Input(config.image_shape),
        build_features(config),
        keras.layers.Dropout(config.feature_dropout),
        keras.layers.Flatten(),
        keras.layers.Dense(config.dense_units, activation="relu"),
        keras.layers.BatchNormalization(momentum=config.batch_norm_momentum),
        keras.layers.Dropout(config.dense_dropout),
        # In mixed precision too: bfloat16 has 8 significant bits, too few for 0.999.
        keras.layers.Dense(config.n_outputs, activation="softmax", dtype="float32"),
    ]
    try:
        return keras.Sequential(layers, name="classifier")
    except (ValueError, TypeError, AttributeError) as error:  # Keras has no error of its own
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{config.architecture}: the features do not fit images of {config.image_shape} "
            f"({reason:.300}). Return one tensor of known size"
        ) from error
