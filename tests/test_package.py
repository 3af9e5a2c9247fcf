"""The pipelines as a package: built, installed elsewhere, and subclassed by somebody's own pipeline."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Somebody's own folder: no git, no dvc.yaml, and nothing of this repository but the package.
PARAMS = """\
seed: 1
n_channels: 3
batch_size: 16
n_shards: 1
shuffle_buffer: 1000
max_rotation: 0.0
max_shift: 0.5
max_zoom: 0.0
max_shear: 0.0
feature_dropout: 0.0
dense_dropout: 0.0
batch_norm_momentum: 0.5
dtype_policy: float32
pretrained_features: true
freeze_features: false
n_epochs: 6
learning_rate: 0.01
learning_rate_schedule: cosine
warmup: 0.1
optimizer: adam
mnist:
  n_classes: 2
  n_train_samples: 32
  n_test_samples: 16
  image_height: 10
  image_width: 10
  pretrained_features: false
shapes:
  n_classes: 3
  n_train_samples: 96
  n_test_samples: 30
  image_height: 12
  image_width: 16
  noise: 60
"""
PIPELINE = '''\
"""Shapes: a pipeline of a stranger, who states only what differs."""

import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
from annotated_types import Ge, Le
from pydantic.dataclasses import dataclass
from typing_extensions import Annotated

import stages
from stages.mnist.config import MnistConfig
from stages.mnist.errors import run
from stages.mnist.evaluation import evaluate_splits
from stages.mnist.example import Example
from stages.mnist.params import STRICT
from stages.mnist.records import write_splits
from stages.mnist.training import train

DATA = Path("data")


@dataclass(config=STRICT, frozen=True, kw_only=True)
class ShapesConfig(MnistConfig):
    section: ClassVar[str] = "shapes"

    noise: Annotated[int, Ge(0), Le(128)]

    @property
    def class_names(self):
        return ("square", "bar", "column")[: self.n_classes]


def draw(config, n, seed, noise):
    random = np.random.default_rng(seed)
    for i in range(n):
        image = random.integers(0, noise, config.image_shape, dtype=np.uint8)
        height, width = ((6, 6), (2, 8), (8, 2))[i % config.n_classes]
        image[2 : 2 + height, 2 : 2 + width] = 255
        yield Example(image, i % config.n_classes, f"{i:03d}")


def main():
    print(Path(stages.__file__).parent)
    parent, child = MnistConfig.from_yaml(), ShapesConfig.from_yaml()
    parent_records, records = DATA / "parent_tfrecords", DATA / "tfrecords"
    write_splits(parent_records, {"train": draw(parent, parent.n_train_samples, 0, 60)}, parent)
    splits = {
        "train": draw(child, child.n_train_samples, 1, child.noise),
        "test": draw(child, child.n_test_samples, 2, child.noise),
    }
    write_splits(records, splits, child)
    features = DATA / "features.weights.h5"
    digits = train(parent, parent_records / "train", DATA / "parent_curves")
    digits.get_layer("features").save_weights(features)
    classifier = train(child, records / "train", DATA / "curves", features)
    classifier.save_weights(DATA / "shapes.weights.h5")
    evaluate_splits(child, DATA / "shapes.weights.h5", records, DATA)


if __name__ == "__main__":
    run(main)
'''


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """Runs a command in a folder, without what would lead it to this repository or to git's."""
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=own | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built offline from what git has or would take of the repository."""
    source = tmp_path_factory.mktemp("source")
    listed = run("git", "ls-files", "-co", "--exclude-standard", "-z", folder=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # and not removed since
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", folder=source)
    (built,) = (source / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(target)]
    run(sys.executable, "-m", "pip", "install", *options, str(wheel), folder=target)
    return target


def test_the_wheel_holds_the_modules_and_the_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        for name in names:
            if name.startswith("stages/"):
                assert archive.read(name) == (ROOT / name).read_bytes(), name
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "stages").rglob("*.py")}
    info = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert set(names) - info == modules | {"stages/py.typed"}
    assert any(name.endswith("/licenses/LICENSE") for name in info)


def test_the_installed_package_says_what_it_is_and_what_it_needs(installed: Path) -> None:
    (found,) = importlib.metadata.distributions(path=[str(installed)])
    assert found.metadata["Name"] == "letterpress"
    assert found.metadata["License-Expression"] == "MIT"
    assert set(found.metadata["Requires-Python"].split(",")) == {">=3.10", "<3.14"}
    needed = {re.split("[^a-z-]", requirement)[0] for requirement in found.requires or []}
    assert {"tensorflow", "dvclive", "pydantic", "pillow"} <= needed
    assert not {"pytest", "ruff", "mypy"} & needed
    assert not list(found.entry_points)


def test_a_strangers_pipeline_runs_on_the_installed_package(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (tmp_path / "pipeline.py").write_text(PIPELINE, encoding="utf-8")
    output = run(
        sys.executable,
        "pipeline.py",
        folder=tmp_path,
        PYTHONPATH=str(installed),
        GIT_CEILING_DIRECTORIES=str(tmp_path.parent),
    )
    assert output.splitlines()[0] == str(installed / "stages")
    metrics = json.loads((tmp_path / "data" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics.keys() == {"accuracy", "accuracy_low", "accuracy_high", "loss"}
    assert metrics["accuracy"] > 0.8  # of three classes, a third by chance
    with (tmp_path / "data" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        predictions = list(csv.DictReader(file))
    assert [row["filename"] for row in predictions] == [f"{i:03d}" for i in range(30)]
    assert {row["actual"] for row in predictions} == {"square", "bar", "column"}
    curve = tmp_path / "data" / "curves" / "plots" / "metrics" / "accuracy.tsv"
    assert len(curve.read_text(encoding="utf-8").splitlines()) == 1 + 6
    assert not (tmp_path / "dvc.yaml").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "pipeline.py", "data"}
