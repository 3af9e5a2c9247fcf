"""Stage fetch_mnist: downloads the four IDX files and checks their hashes."""

from pathlib import Path

from letterpress.core.errors import run
from letterpress.mnist.fetch import FetchMnistConfig, fetch
from letterpress.mnist.idx import FILES

RAW = Path("data/mnist/raw")


def main() -> None:
    config = FetchMnistConfig.from_yaml()
    fetch(RAW, config.sources, dict(zip(FILES, config.sha256, strict=True)))
    print(f"{RAW}: {', '.join(FILES)}")


if __name__ == "__main__":
    run(main)
