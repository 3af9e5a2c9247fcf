"""The standard feature extractor. A file of your own may replace it, see docs/architecture.md."""

from typing import Any

from letterpress.core.config import ClassifierConfig
from letterpress.core.tensorflow import keras
from letterpress.model.normalization import BatchNormalization


def build_features(config: ClassifierConfig) -> Any:
    """Builds the feature extractor. Its weights do not depend on the image size.

    Returns:
        A model from images, float32 0..1 [batch, height, width, n_channels], to features
        [batch, height / 2**n, width / 2**n, blocks[-1][-1]], rounded down, for n blocks; float32,
        or bfloat16 if config.dtype_policy is mixed_bfloat16.
    """
    layers = [keras.Input((None, None, config.n_channels))]
    for block in config.blocks:
        for number, n_filters in enumerate(block, 1):
            layers.append(keras.layers.Conv2D(n_filters, 3, padding="same"))
            if number == len(block):
                layers.append(keras.layers.MaxPooling2D(2))
            # After pooling: same result, a quarter of the work.
            layers.append(keras.layers.ReLU())
            layers.append(BatchNormalization(momentum=config.batch_norm_momentum))
    return keras.Sequential(layers, name="features")
