"""The config of the child pipeline: only what differs from its parent, MNIST."""

import string
from typing import Annotated, Literal

from annotated_types import Ge, Le, Len

from letterpress.core.config import Count
from letterpress.mnist.config import MnistConfig


class AsciiLetterConfig(MnistConfig):
    """The letters: values that differ from the parent's, and how the letters are drawn."""

    n_classes: Annotated[int, Le(26)] = 26
    n_train_samples: int = 2080
    n_test_samples: int = 520
    image_height: int = 32
    image_width: int = 32

    placement: Literal["center_of_mass", "bounding_box"] = "bounding_box"

    n_images_per_class: Count = 100
    """Letters per class in the seen families, for training and test."""
    n_unseen_per_class: Count = 100
    """Letters per class in the unseen families. Half of all letters are capitals."""
    unseen_families: Annotated[list[str], Len(1)] = [
        "Caladea",
        "Computer Modern Typewriter",
        "Fredoka One",
        "Intuitive",
        "Manrope",
    ]
    """Typeface families kept out of training and test. See `typefaces.py`."""
    letter_size: Annotated[int, Ge(8), Le(512)] = 32
    """Pixels per em; a capital is about 0.7 em high. Reduced for letters that do not fit."""
    off_center: Annotated[float, Ge(0), Le(16)] = 2.0
    """The largest distance of a letter from the center of the image, in pixels along each axis."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The first n_classes of a to z."""
        return tuple(string.ascii_lowercase[: self.n_classes])
