"""Drawings that two classes share exactly, like a capital I and a small l in some typefaces."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.ascii_letter.glyphs import Typeface, draw_letter

SAME = 0.05
"""Two drawings are the same if they differ by less than this share of their ink."""

Drawing = npt.NDArray[np.float32]


class Library:
    """Drawings of all letters in some typefaces, to find those that look like a given image."""

    def __init__(
        self,
        class_names: Iterable[str],
        typefaces: Sequence[Typeface],
        size: int,
        shape: tuple[int, int],
    ) -> None:
        """Draws every letter.

        Args:
            class_names: the letters, small; capitals are drawn too.
            typefaces: the font files.
            size: font size, pixels an em.
            shape: height and width of an image, pixels.
        """
        self._by_size: dict[tuple[int, ...], list[tuple[str, Drawing]]] = defaultdict(list)
        for name in class_names:
            for letter, typeface in itertools.product((name, name.upper()), typefaces):
                ink = crop_to_ink(draw_letter(letter, typeface, size, shape))
                self._by_size[ink.shape].append((name, ink))

    def classes_like(self, image: Image.Image) -> set[str]:
        """Returns the classes, "a" to "z", of which a drawing is the same as this grey image."""
        return set(self._classes_like(crop_to_ink(image)))

    def _classes_like(self, ink: Drawing) -> Iterator[str]:
        for name, other in self._by_size[ink.shape]:
            if np.abs(ink - other).sum() < SAME * np.maximum(ink, other).sum():
                yield name


def crop_to_ink(image: Image.Image) -> Drawing:
    """Cuts a grey image to the box around its ink; returns 0..255 [height, width] of that box."""
    return np.asarray(image.crop(image.getbbox()), np.float32)
