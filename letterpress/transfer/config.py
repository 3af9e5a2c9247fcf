"""The params of the transfer curve."""

from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator

from letterpress.core.config import Count
from letterpress.core.params import Params


def _without_duplicates(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("should have no duplicates")
    return values


_UNIQUE = AfterValidator(_without_duplicates)


class TransferConfig(Params):
    """The budget of each training: the same for all starts. The network is that of the letters."""

    inherits_root: ClassVar[bool] = False

    starts: Annotated[list[Literal["scratch", "pretrained", "frozen"]], Len(1), _UNIQUE]
    """Random weights; the parent's features; the parent's features, not trained further."""
    labels_per_class: Annotated[list[Count], Len(1), _UNIQUE]
    """Training letters per class. The curve has one point per number and start."""
    split: Literal["validation", "unseen"]
    """Where the accuracy is measured. Choose the values below on validation."""
    n_test_per_class: Count
    """Letters per class of that split: the first ones, which are in typefaces, not of a pen."""
    n_seeds: Annotated[int, Ge(2)]
    """Trainings per point. Each seed gives other random weights and chooses other letters."""
    n_steps: Count
    """Training steps with one label per class. With n labels there are sqrt(n) times as many."""
    batch_size: Count
    learning_rate: Annotated[float, Gt(0), Le(10)]
    """The initial rate of Adam. It falls to 0 along a half cosine."""
