"""The optimizers of the params."""

from __future__ import annotations

from typing import Any

from stages.mnist.backend import keras, tf
from stages.mnist.config import MnistConfig


class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras's own, with a variable's update in one pass over memory, not in ten."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


def build_optimizer(config: MnistConfig, n_steps: int) -> Any:
    """Builds the optimizer of a training of n_steps steps, with its learning rate at each of them."""
    warmup = int(n_steps * config.warmup)
    # A cosine that never starts to fall within the training is a constant.
    decay = n_steps - warmup if config.learning_rate_schedule == "cosine" else 2**60
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else config.learning_rate,
        decay,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    if config.optimizer == "adam":
        return Adam(rate)
    return keras.optimizers.get({"class_name": config.optimizer, "config": {"learning_rate": rate}})
