"""The params of the conditions."""

from typing import ClassVar

from letterpress.core.config import Count
from letterpress.core.params import Params


class ConditionsConfig(Params):
    """How many pictures are drawn."""

    inherits_root: ClassVar[bool] = False

    n_images: Count = 300
    """Test images per condition and pipeline; all of them if there are fewer."""
