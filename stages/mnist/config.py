"""What a pipeline can be told: the keys of params.yaml, their types and limits."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from stages.mnist.params import STRICT, Params

Count = Annotated[int, Ge(1), Le(2**31 - 1)]
Rate = Annotated[float, Ge(0), Lt(1)]
"""A share of a whole, 0 included and 1 not."""


def _grey_or_rgb(n_channels: int) -> int:
    if n_channels not in (1, 3):
        raise ValueError("should be 1 (grey) or 3 (RGB)")
    return n_channels


@dataclass(config=STRICT, frozen=True, kw_only=True)
class MnistConfig(Params):
    """The values of a classifier's pipeline. A child subclasses it and adds its own keys."""

    section: ClassVar[str] = "mnist"

    seed: Annotated[int, Ge(0), Lt(2**32)]
    """Seeds the split, the weights, the order of the examples, dropout and augmentation."""

    n_classes: Annotated[int, Ge(2), Le(100_000)]
    n_train_samples: Count
    n_test_samples: Count
    image_height: Annotated[int, Ge(8), Le(512)]
    """Pixels. Each of two convolutions takes 1 off each side; pooling halves what is left."""
    image_width: Annotated[int, Ge(8), Le(512)]
    """Pixels."""
    n_channels: Annotated[int, AfterValidator(_grey_or_rgb)]
    """1 for grey, 3 for RGB."""

    n_shards: Annotated[int, Ge(1), Le(100_000)]
    """Files that a data set is divided into, each made by a job of its own, on one machine or many."""
    batch_size: Count
    shuffle_buffer: Count
    """Examples among which the next one of a batch is drawn; the whole split mixes best."""
    max_rotation: Annotated[float, Ge(0), Le(180)]
    """Augmentation: degrees, either way. 0 in all four keys turns it off."""
    max_shift: Annotated[float, Ge(0), Le(512)]
    """Augmentation: pixels, along each axis, either way."""
    max_zoom: Rate
    """Augmentation: 0.1 for 1 / 1.1 to 1 / 0.9 of the size."""
    max_shear: Rate
    """Augmentation: pixels of slant a pixel of height, either way."""

    feature_dropout: Rate
    """Share of the features that a training step leaves out."""
    dense_dropout: Rate
    """Share of the dense layer's outputs that a training step leaves out."""
    batch_norm_momentum: Rate
    """How much of a moving average is kept at each step: 0.9 converges within 50 steps, 0.99 in 500."""

    dtype_policy: Literal["float32", "mixed_bfloat16"]
    """What layers compute in. mixed_bfloat16 keeps float32 weights, and is only as fast as the processor's."""

    pretrained_features: bool
    """Whether training starts from the parent pipeline's feature weights."""
    freeze_features: bool
    """Whether training leaves the feature weights as they are."""
    n_epochs: Count
    learning_rate: Annotated[float, Gt(0), Le(10)]
    """The highest rate, reached at the end of the warm-up."""
    learning_rate_schedule: Literal["constant", "cosine"]
    """What the rate does after the warm-up: stay, or fall to 0 along a half cosine."""
    warmup: Rate
    """Share of the training steps in which the rate rises from 0."""
    optimizer: Literal["adam", "adamw", "adagrad", "rmsprop", "sgd"]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(image_height, image_width, n_channels)."""
        return self.image_height, self.image_width, self.n_channels

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class by its label: the label itself, unless a child knows better."""
        return tuple(str(label) for label in range(self.n_classes))
