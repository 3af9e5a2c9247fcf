"""Stage export_web: writes the letters classifier for TensorFlow.js, and golden examples."""

from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.errors import run
from letterpress.web.export import export

MODEL = Path("data/web/model")


def main() -> None:
    export(AsciiLetterConfig.from_yaml(), Path("data/ascii_letter/classifier.weights.h5"), MODEL)


if __name__ == "__main__":
    run(main)
