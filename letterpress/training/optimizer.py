"""The optimizers that params.yaml can name."""

from typing import Any

from letterpress.core.config import ClassifierConfig
from letterpress.core.tensorflow import keras, tf


class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras's Adam (Kingma and Ba 2014), with one pass over memory per update instead of ten."""

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


def build_optimizer(config: ClassifierConfig, n_steps: int) -> Any:
    """Builds the optimizer of a training, with a learning rate schedule of n_steps steps."""
    warmup = int(n_steps * config.warmup)
    # A constant rate is a cosine too long to fall within the training.
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
