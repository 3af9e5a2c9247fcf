"""Stage export_web: writes the letters classifier for TensorFlow.js."""

from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.errors import run
from letterpress.web.export import export

DATA, MODEL = Path("data/ascii_letter"), Path("data/web/model")


def main() -> None:
    weights, calibration = DATA / "classifier.weights.h5", DATA / "calibration.json"
    export(AsciiLetterConfig.from_yaml(), weights, calibration, MODEL)


if __name__ == "__main__":
    run(main)
