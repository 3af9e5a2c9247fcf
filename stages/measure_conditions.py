"""Stage measure_conditions: classifies pictures as people take them, under each condition."""

from pathlib import Path

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.conditions.measure import ConditionsConfig, Pipeline, write_conditions
from letterpress.core.stage import run
from letterpress.mnist.config import MnistConfig

FOLDERS = {"digits": Path("data/mnist"), "letters": Path("data/ascii_letter")}
FILES = "classifier.weights.h5", "calibration.json", "tfrecords/test"
RESULTS = Path("data/conditions")


def main() -> None:
    configs = {"digits": MnistConfig.from_yaml(), "letters": AsciiLetterConfig.from_yaml()}
    pipelines = [
        Pipeline(name, config, *(FOLDERS[name] / file for file in FILES))
        for name, config in configs.items()
    ]
    n_images = ConditionsConfig.from_yaml().n_images
    write_conditions(pipelines, n_images, configs["digits"].data_seed, RESULTS)


if __name__ == "__main__":
    run(main)
