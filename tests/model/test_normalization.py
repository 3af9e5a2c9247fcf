"""The faster batch normalization computes what Keras's does."""

from typing import Any

import numpy as np
import pytest

from letterpress.core.tensorflow import keras, tf
from letterpress.model.normalization import BatchNormalization

IMAGES = np.random.default_rng(0).normal(1, 2, (6, 5, 4, 3)).astype(np.float32)


def results(layer: Any, **options: Any) -> list[Any]:
    """The outputs of a step, their gradients, then the layer's weights."""
    layer.build(IMAGES.shape)
    layer.gamma.assign([1.5, -1.0, 0.5])
    layer.beta.assign([0.0, 1.0, -2.0])
    images = tf.cast(IMAGES, layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, **options)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 3)
    assert outputs.dtype == layer.compute_dtype
    gradients = tape.gradient(loss, [images, layer.gamma.value, layer.beta.value])
    found = [tf.cast(one, tf.float32).numpy() for one in (outputs, *gradients)]
    return [*found, *layer.get_weights()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-4), ("mixed_bfloat16", 0.05)])
def test_a_step_is_that_of_keras(training: bool, trainable: bool, dtype: str, rtol: float) -> None:
    options = {"momentum": 0.8, "trainable": trainable, "dtype": dtype}
    found, expected = (
        results(kind(**options), training=training)
        for kind in (BatchNormalization, keras.layers.BatchNormalization)
    )
    assert not np.array_equal(found[0], IMAGES)
    for mine, keras_own in zip(found, expected, strict=True):
        scale = np.abs(keras_own).max()
        np.testing.assert_allclose(mine, keras_own, atol=rtol * scale)


@pytest.mark.parametrize("synchronized", [True, False])
def test_it_is_one_operation_unless_workers_share_the_batch(synchronized: bool) -> None:
    layer = BatchNormalization()
    layer.build(IMAGES.shape)
    layer.synchronized = synchronized
    step = tf.function(lambda images: layer(images, training=True))
    kinds = {
        operation.type for operation in step.get_concrete_function(IMAGES).graph.get_operations()
    }
    assert ("FusedBatchNormV3" in kinds) != synchronized
