"""Very many contents, known by eight bytes of the hash of each, where Python's own set takes over 100.

Two of n different contents are taken for the same with a probability of n**2 / 2**65, which is 3e-8
for a million.
"""

from __future__ import annotations

import hashlib
from array import array

import numpy as np


class DigestSet:
    """Remembers contents by their digests, in one array with open addressing: 12 to 24 bytes for each."""

    def __init__(self) -> None:
        self._slots = array("Q", [0]) * 1024
        self._n = 0

    def add(self, content: bytes) -> bool:
        """Adds a content, and returns whether it is new."""
        value = digest(content)
        slot = self._find(value)
        if self._slots[slot] == value:
            return False
        self._slots[slot] = value
        self._n += 1
        if 3 * self._n > 2 * len(self._slots):
            self._grow()
        return True

    def _find(self, value: int) -> int:
        """Returns the slot where the digest stands or, if it is new, belongs."""
        slots = self._slots
        slot = value % len(slots)
        while slots[slot] not in (0, value):
            slot = (slot + 1) % len(slots)
        return slot

    def _grow(self) -> None:
        smaller, self._slots = self._slots, array("Q", [0]) * (2 * len(self._slots))
        for value in smaller:
            if value:
                self._slots[self._find(value)] = value


def digest(content: bytes) -> int:
    """Returns eight bytes of a content's hash (BLAKE2b) as a number, 1 .. 2**64 - 1."""
    value = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(value, "little") or 1  # an empty slot of a DigestSet is 0


def repeated(digests: array[int]) -> int | None:
    """Returns a digest that stands in an array "Q" more than once, or None. Sorts the array."""
    ordered = np.frombuffer(digests, np.uint64)
    ordered.sort()
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    return int(again[0]) if len(again) else None
