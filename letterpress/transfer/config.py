"""The params of the transfer curve."""

from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator

from letterpress.core.config import Count
from letterpress.core.params import Params


def _without_duplicates(numbers: list[int]) -> list[int]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("should have no duplicates")
    return numbers


class TransferConfig(Params):
    """The budget of each training: the same for all starts. The network is that of the letters."""

    inherits_root: ClassVar[bool] = False

    labels_per_class: Annotated[list[Count], Len(1), AfterValidator(_without_duplicates)]
    """Training letters per class. The curve has one point per number and start."""
    n_unseen_per_class: Count
    """Unseen letters per class on which the accuracy is measured."""
    n_seeds: Annotated[int, Ge(2)]
    """Trainings per point. Each seed gives other random weights and chooses other letters."""
    n_steps: Count
    """Training steps with one label per class. With n labels there are sqrt(n) times as many."""
    batch_size: Count
    learning_rate: Annotated[float, Gt(0), Le(10)]
    """The initial rate of Adam. It falls to 0 along a half cosine."""
