"""Stage fetch_typefaces: downloads the font files and checks their hashes."""

from pathlib import Path

from letterpress.ascii_letter.typefaces import FetchTypefacesConfig, list_files
from letterpress.core.stage import run
from letterpress.fetching.fetch import fetch

TYPEFACES = Path("data/typefaces")


def main() -> None:
    files = list_files()
    sources = FetchTypefacesConfig.from_yaml().sources
    fetch(TYPEFACES, sources, files, "fetch_typefaces.sources")
    print(f"{TYPEFACES}: {len(files)} font files")


if __name__ == "__main__":
    run(main)
