"""Stage fetch_mnist: downloads the four IDX files and checks their hashes."""

from pathlib import Path

from letterpress.core.stage import run
from letterpress.fetching.fetch import fetch
from letterpress.mnist.fetch import FetchMnistConfig

RAW = Path("data/mnist/raw")


def main() -> None:
    config = FetchMnistConfig.from_yaml()
    fetch(RAW, config.sources, config.files, "fetch_mnist.sources")
    print(f"{RAW}: {', '.join(file.name for file in config.files)}")


if __name__ == "__main__":
    run(main)
