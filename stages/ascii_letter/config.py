"""What differs for the letters."""

from __future__ import annotations

import string
from typing import Annotated, ClassVar

from annotated_types import Ge, Le
from pydantic.dataclasses import dataclass

from stages.mnist.config import Count, MnistConfig
from stages.mnist.params import STRICT


@dataclass(config=STRICT, frozen=True, kw_only=True)
class AsciiLetterConfig(MnistConfig):
    """The parent's values, and how the letters are drawn."""

    section: ClassVar[str] = "ascii_letter"

    n_images_per_class: Count
    smallest_letter: Annotated[int, Ge(8)]
    """Font size, pixels an em; a capital is about 0.7 em high."""
    largest_letter: Annotated[int, Ge(8)]
    """Font size, pixels an em."""
    off_center: Annotated[float, Ge(0), Le(16)]
    """Pixels that a letter stands off the centre at most, along each axis, either way."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The first n_classes of a to z."""
        return tuple(string.ascii_lowercase[: self.n_classes])
