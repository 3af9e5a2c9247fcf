"""Stage export_web: writes both classifiers for TensorFlow.js."""

from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.files import replacing
from letterpress.core.stage import run
from letterpress.mnist.config import MnistConfig
from letterpress.web.export import export

FOLDERS = {"letters": Path("data/ascii_letter"), "digits": Path("data/mnist")}
MODEL = Path("data/web/model")


def main() -> None:
    configs = {"letters": AsciiLetterConfig.from_yaml(), "digits": MnistConfig.from_yaml()}
    with replacing(MODEL) as folder:
        for name, config in configs.items():
            weights = FOLDERS[name] / "classifier.weights.h5"
            export(config, weights, FOLDERS[name] / "calibration.json", folder / name)
    print(f"{MODEL}: {' and '.join(configs)} for TensorFlow.js")


if __name__ == "__main__":
    run(main)
