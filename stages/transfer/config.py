"""The budget of the trainings that are compared."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from stages.mnist.config import Count
from stages.mnist.params import STRICT, Params


def _no_repetition(numbers: list[int]) -> list[int]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("should not have a number twice")
    return numbers


@dataclass(config=STRICT, frozen=True, kw_only=True)
class TransferConfig(Params):
    """The budget of each training, the same for all starts; the network is the letters'."""

    section: ClassVar[str] = "transfer"
    inherits_root: ClassVar[bool] = False

    labels_per_class: Annotated[list[Count], Len(1), AfterValidator(_no_repetition)]
    """Training letters of each class, a point of the curve for each number."""
    n_unseen_per_class: Count
    """Unseen letters of each class to measure the accuracy on."""
    n_seeds: Annotated[int, Ge(2)]
    """Trainings of each point, each with other random weights and, where there are more, other letters."""
    n_steps: Count
    """Training steps with one label of each class; with n labels they are sqrt(n) times as many."""
    batch_size: Count
    learning_rate: Annotated[float, Gt(0), Le(10)]
    """The first rate of Adam; it falls to 0 along a half cosine."""
