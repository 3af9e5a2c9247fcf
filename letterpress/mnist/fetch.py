"""The params of fetching MNIST."""

from typing import Annotated, ClassVar

from annotated_types import Len

from letterpress.core.params import Params
from letterpress.fetching.fetch import File, Sha256, Source
from letterpress.mnist.idx import FILES


class FetchMnistConfig(Params):
    """Where the four IDX files come from, and their hashes."""

    inherits_root: ClassVar[bool] = False

    sources: Annotated[list[Source], Len(1)]
    """Tried in turn. See `letterpress/fetching/fetch.py`."""
    sha256: Annotated[list[Sha256], Len(len(FILES), len(FILES))]
    """The SHA-256 of each of FILES, uncompressed."""

    @property
    def files(self) -> list[File]:
        """The files with their hashes."""
        return [File(*pair) for pair in zip(FILES, self.sha256, strict=True)]
