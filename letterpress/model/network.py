"""The network: a feature extractor that children reuse, and the classifier on top of it."""

from typing import Any

from letterpress.core.config import ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras


def build_features(config: ClassifierConfig) -> Any:
    """Builds the feature extractor. Its weights do not depend on the image size.

    Returns:
        A model named "features" from images, float32 [batch, height, width, channels], to features
        [batch, height / 2**n, width / 2**n, blocks[-1][-1]], rounded down, for n blocks; float32,
        or bfloat16 if config.dtype_policy is mixed_bfloat16.
    """
    keras.config.set_dtype_policy(config.dtype_policy)
    layers = [keras.Input((None, None, config.n_channels))]
    for *inner, last in config.blocks:
        layers += [keras.layers.Conv2D(n, 3, padding="same", activation="relu") for n in inner]
        layers += [
            keras.layers.Conv2D(last, 3, padding="same"),
            keras.layers.MaxPooling2D(2),
            keras.layers.ReLU(),  # after pooling: same result, a quarter of the work
            keras.layers.BatchNormalization(momentum=config.batch_norm_momentum),
        ]
    return keras.Sequential(layers, name="features")


def build_classifier(config: ClassifierConfig) -> Any:
    """Builds the classifier, which contains the feature extractor as the layer "features".

    Returns:
        A model from images, float32 0..1 [batch, image_height, image_width, n_channels], to
        probabilities, float32 [batch, n_outputs], each row of sum 1.

    Raises:
        PipelineError: pooling leaves no pixels of the images.
    """
    shorter = min(config.image_height, config.image_width)
    if shorter >> len(config.blocks) < 1:
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
        keras.layers.Dense(config.n_outputs, activation="softmax", dtype="float32"),
    ]
    return keras.Sequential(layers, name="classifier")
