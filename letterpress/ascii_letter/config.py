"""The config of the child pipeline: only what differs from its parent, MNIST."""

import string
from typing import Annotated, Literal

from annotated_types import Ge, Le

from letterpress.core.config import Count, Rate
from letterpress.mnist.config import MnistConfig


class AsciiLetterConfig(MnistConfig):
    """The letters: values that differ from the parent's, and how the letters are drawn."""

    n_classes: Annotated[int, Le(26)] = 26
    n_train_samples: int = 3120
    n_validation_samples: int = 390
    n_test_samples: int = 390
    image_height: int = 32
    image_width: int = 32
    none_share: float = 0.25
    placement: Literal["center_of_mass", "bounding_box"] = "bounding_box"

    n_images_per_class: Count = 100
    """Letters per class in the training families' typefaces. Half of all letters are capitals."""
    n_validation_per_class: Count = 46
    """Letters per class in the validation families: one per family, capital and small."""
    n_unseen_per_class: Count = 60
    """Letters per class in the unseen families: one per family, capital and small."""
    pen_share: Rate = 0.5
    """Letters drawn with a pen, as a multiple of the letters in typefaces."""
    script_share: Rate = 0.1
    """The most letters of the training families in script typefaces, as a share."""
    letter_size: Annotated[int, Ge(8), Le(512)] = 22
    """The longer side of a letter in a typeface, in pixels, as in prediction."""
    off_center: Annotated[float, Ge(0), Le(16)] = 2.0
    """The largest distance of a letter from the center of the image, in pixels along each axis."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The first n_classes of a to z."""
        return tuple(string.ascii_lowercase[: self.n_classes])
