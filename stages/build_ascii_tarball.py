"""Stage build_ascii_tarball: draws the letters in many typefaces, into tar files."""

from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.drawing import draw_tarballs
from letterpress.core.stage import run

RAW, TYPEFACES = Path("data/ascii_letter/raw"), Path("data/typefaces")


def main() -> None:
    draw_tarballs(RAW, TYPEFACES, AsciiLetterConfig.from_yaml())


if __name__ == "__main__":
    run(main)
