"""What differs for the letters."""

from __future__ import annotations

import string
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, Len
from pydantic.dataclasses import dataclass

from stages.mnist.config import Count, MnistConfig
from stages.mnist.params import STRICT


@dataclass(config=STRICT, frozen=True, kw_only=True)
class AsciiLetterConfig(MnistConfig):
    """The parent's values, and how the letters are drawn."""

    section: ClassVar[str] = "ascii_letter"

    n_classes: Annotated[int, Ge(2), Le(26)]
    n_images_per_class: Count
    """Letters of each class to draw in the seen families, for training and test."""
    n_unseen_per_class: Count
    """Letters of each class to draw in the unseen families, half of them capitals."""
    unseen_families: Annotated[list[str], Len(1)]
    """Typeface families that are kept out of training and test, see `glyphs.py`."""
    letter_size: Annotated[int, Ge(8), Le(512)]
    """Font size, pixels an em; a capital is about 0.7 em high. Where a letter would not fit, it is less."""
    off_center: Annotated[float, Ge(0), Le(16)]
    """Pixels that a letter stands off the centre at most, along each axis, either way."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The first n_classes of a to z."""
        return tuple(string.ascii_lowercase[: self.n_classes])
