"""Batch normalization by one operation of TensorFlow, which is faster than Keras's many."""

from typing import Any

from letterpress.core.tensorflow import keras, tf


class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras's layer, for images: the same weights and results, up to rounding.

    Several workers, which normalize by the batch of all (`synchronized`), compute it as Keras does.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalizes [batch, height, width, channels]; in training, updates the moving averages."""
        if not (training and self.trainable) or self.synchronized:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon
        )
        # The operation returns the variance of a sample: divided by n - 1, not by n.
        n = tf.cast(tf.size(inputs) // tf.size(mean), tf.float32)
        batch = mean, variance * (n - 1) / n
        for moving, current in zip((self.moving_mean, self.moving_variance), batch, strict=True):
            moving.assign(moving * self.momentum + current * (1 - self.momentum))
        return outputs
