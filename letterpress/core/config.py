"""The keys of params.yaml that every classifier has, with their types, limits and defaults."""

import math
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import AfterValidator, BeforeValidator, StringConstraints

from letterpress.core.params import Params

STANDARD = "letterpress/model/features.py"
"""The architecture of the library itself, installed or in the clone."""
Count = Annotated[int, Ge(1), Le(2**31 - 1)]
Rate = Annotated[float, Ge(0), Lt(1)]
"""A fraction: 0 is allowed, 1 is not."""


def _grey_or_rgb(n_channels: int) -> int:  # Literal[1, 3] would accept True
    if n_channels not in (1, 3):
        raise ValueError("Input should be 1 (grey) or 3 (RGB)")
    return n_channels


def _as_tuples(value: object) -> object:  # YAML has lists only
    if not isinstance(value, list):
        return value
    # Not deeper: an alias may stand for a list of lists without end.
    return tuple(tuple(block) if isinstance(block, list) else block for block in value)


Block = Annotated[tuple[Count, ...], Len(1, 8)]
Blocks = Annotated[tuple[Block, ...], Len(1, 8), BeforeValidator(_as_tuples)]


class ClassifierConfig(Params):
    """The values of a classifier's pipeline. A subclass states what differs, and may add keys."""

    seed: Annotated[int, Ge(0), Lt(2**32)] = 12345
    """Seeds the training: weights, order of the examples, dropout and augmentation."""
    data_seed: Annotated[int, Ge(0), Lt(2**32)] = 12345
    """Seeds the data: what is drawn, and which image is in which split."""

    n_classes: Annotated[int, Ge(2), Le(100_000)] = 10
    n_train_samples: Count = 55_000
    n_validation_samples: Annotated[int, Ge(0), Le(2**31 - 1)] = 5_000
    """Images on which hyperparameters are chosen. None of them is in training or test."""
    n_test_samples: Count = 10_000
    none_share: Rate = 0.0
    """Share of images of no class in each split, for a further output "none"; 0 for no output."""
    image_height: Annotated[int, Ge(8), Le(512)] = 28
    image_width: Annotated[int, Ge(8), Le(512)] = 28
    """Pixels."""
    n_channels: Annotated[int, AfterValidator(_grey_or_rgb)] = 1
    """1 for grey, 3 for RGB."""

    n_shards: Annotated[int, Ge(1), Le(100_000)] = 1
    """Files per data set, each written by a job of its own, on one machine or many."""
    batch_size: Count = 64
    shuffle_buffer: Count = 65_536
    """Examples from which the next one is drawn. A buffer as large as the split mixes best."""
    max_rotation: Annotated[float, Ge(0), Le(180)] = 6.0
    """Augmentation: degrees, either way. 0 in all four keys turns augmentation off."""
    max_shift: Annotated[float, Ge(0), Le(512)] = 1.0
    """Augmentation: pixels along each axis, either way."""
    max_zoom: Rate = 0.02
    """Augmentation: 0.1 scales by 1 / 1.1 to 1 / 0.9."""
    max_shear: Rate = 0.2
    """Augmentation: pixels of slant per pixel of height, either way."""
    thicken: Annotated[float, Ge(0), Le(1)] = 0.0
    """Augmentation: share of the images whose lines are made thicker, thinner or softer."""

    mirror: bool = False
    """Augmentation: whether half of the images are mirrored, left to right."""

    class_weights: Literal["equal", "balanced"] = "equal"
    """The weight of an image in the training loss: 1, or less the more images its class has."""

    architecture: Annotated[str, StringConstraints(pattern=r"\.py$")] = STANDARD
    """The file whose function `build_features` makes the feature extractor: docs/architecture.md."""
    blocks: Blocks = ((16, 16), (64, 64), (128,))
    """The filters of each convolution, 3 x 3 pixels. Pooling after each block halves the image."""
    dense_units: Count = 128
    """The outputs of the dense layer between the features and the classes."""
    feature_dropout: Rate = 0.3
    """Fraction of the features that a training step drops."""
    dense_dropout: Rate = 0.1
    """Fraction of the dense layer's outputs that a training step drops."""
    batch_norm_momentum: Rate = 0.9
    """Fraction of a moving average kept per step: 0.9 converges in 50 steps, 0.99 in 500."""

    dtype_policy: Literal["float32", "mixed_bfloat16"] = "float32"
    """Keras's dtype policy. mixed_bfloat16 keeps float32 weights; only some processors gain."""

    pretrained_features: bool = False
    """Whether training starts from the parent pipeline's feature weights."""
    freeze_features: bool = False
    """Whether training leaves the feature weights unchanged."""
    match_channels: bool = False
    """Whether the parent's images may be grey and these RGB, or the reverse; see `load_features`."""
    n_epochs: Count = 3
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.002
    """The highest rate, reached at the end of the warm-up."""
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    """The rate after the warm-up: constant, or falling to 0 along a half cosine."""
    warmup: Rate = 0.1
    """Fraction of the training steps in which the rate rises from 0."""
    optimizer: Literal["adam", "adamw", "adagrad", "rmsprop", "sgd"] = "adam"
    validation_freq: Count = 1
    """Epochs from one measurement on the validation split to the next, as in Keras's `fit`."""
    keep: Literal["last", "best"] = "last"
    """The epoch whose weights are kept: the last, or the one of the lowest validation loss."""
    patience: Annotated[int, Ge(0)] = 0
    """Epochs without a lower validation loss after which training stops; 0 for never."""

    placement: Literal["center_of_mass", "bounding_box"] = "center_of_mass"
    """What is centred in an image made from a picture, as in the training images. MNIST centres the
    mass. Used by prediction only."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(image_height, image_width, n_channels)."""
        return self.image_height, self.image_width, self.n_channels

    @property
    def n_outputs(self) -> int:
        """n_classes, and one more if there are images of no class: their label is n_classes."""
        return self.n_classes + (self.none_share > 0)

    @property
    def output_names(self) -> tuple[str, ...]:
        """class_names, and "none" if there are images of no class."""
        return self.class_names + ("none",) * (self.n_outputs - self.n_classes)

    def n_none(self, n_samples: int) -> int:
        """The number of images of no class beside n_samples images of the classes."""
        return math.floor(n_samples * self.none_share / (1 - self.none_share) + 1e-6)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class by its label: the label itself, unless a subclass overrides it."""
        return tuple(str(label) for label in range(self.n_classes))
