"""The library as a package: built, installed elsewhere, and used by another person's pipeline."""

import json
import runpy
import shutil
import zipfile
from pathlib import Path

import pytest

import letterpress
from tests.conftest import ROOT
from tests.test_pipeline import Repository

# Another person's folder: no git, no dvc.yaml, one file of code, and only the params that differ.
PARAMS = """\
batch_size: 16
n_epochs: 6
learning_rate: 0.01
max_rotation: 0.0
batch_norm_momentum: 0.5
bars: {n_train_samples: 96, n_test_samples: 30, noise: 60}
"""
PIPELINE = """\
from pathlib import Path

import numpy as np

import letterpress
from letterpress import Example, MnistConfig, evaluate_splits, run, train, write_splits

DATA = Path("data")


class BarsConfig(MnistConfig):
    n_classes: int = 3
    image_height: int = 12
    noise: int


def draw(config, n):
    random = np.random.default_rng(n)
    for i in range(n):
        image = random.integers(0, config.noise, config.image_shape, dtype=np.uint8)
        label = i % config.n_classes
        image[4 * label : 4 * label + 3] = 255
        yield Example(image, label, f"{i:03d}")


def main():
    print(Path(letterpress.__file__).parent)
    config = BarsConfig.from_yaml()
    sizes = {"train": config.n_train_samples, "test": config.n_test_samples}
    write_splits(DATA / "records", {name: draw(config, n) for name, n in sizes.items()}, config)
    classifier = train(config, DATA / "records", DATA / "curves")
    classifier.save_weights(DATA / "bars.weights.h5")
    evaluate_splits(config, DATA / "bars.weights.h5", DATA / "records", DATA)


if __name__ == "__main__":
    run(main)
"""
# From Ben Cook's essay, except for the name of the package.
ESSAY = """\
from pathlib import Path
from typing import Tuple

from dataclasses import dataclass
from letterpress import MnistConfig

class AsciiLetterConfig(MnistConfig):
    n_classes: int = 26
    artifact_directory: str = str(Path.home()/'.mlpipes/ascii_letter')
    seed: int = 12345
    n_train_samples: int = 2080
    n_test_samples: int = 520
    image_height: int = 32
    image_width: int = 32
    batch_size: int = 128
    n_epochs: int = 1
    learning_rate: float = 0.005
    pretrained_features: bool = True
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheels of this project, as git would commit it, and of a copy with a renamed package."""
    source = tmp_path_factory.mktemp("source")
    listed = Repository(ROOT).git("ls-files", "-co", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    other = tmp_path_factory.mktemp("other")  # another each time: a worker may come back to this
    shutil.copytree(source, other, dirs_exist_ok=True)
    (other / "letterpress").rename(other / "otherpress")
    for path in [other / "pyproject.toml", *(other / "otherpress").rglob("*.py")]:
        path.write_text(path.read_text("utf-8").replace("letterpress", "otherpress"), "utf-8")
    for folder in (source, other):
        Repository(folder).run("python", "-m", "build", "--wheel", "--no-isolation")
    return [next((folder / "dist").glob("*.whl")) for folder in (source, other)]


@pytest.fixture(scope="module")
def installed(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both packages and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    pip = ["python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    Repository(target).run(*pip, "--target", ".", *map(str, wheels))
    return target


def test_the_wheel_holds_the_package_and_the_licence_and_nothing_else(wheels: list[Path]) -> None:
    names = {*zipfile.ZipFile(wheels[0]).namelist()}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "letterpress").rglob("*.py")}
    info = {name for name in names if ".dist-info/" in name}
    tables = {f"letterpress/ascii_letter/typefaces.{end}" for end in ("csv", "sha256")}
    templates = (ROOT / "letterpress/new/templates").iterdir()
    tables |= {path.relative_to(ROOT).as_posix() for path in templates if path.is_file()}
    data = {"letterpress/py.typed", *tables}
    assert names - info == modules | data
    assert any(name.endswith("/licenses/LICENSE") for name in info)


def test_two_projects_grown_from_the_template_can_be_installed_side_by_side(
    wheels: list[Path], installed: Path
) -> None:
    ours, theirs = (zipfile.ZipFile(wheel).namelist() for wheel in wheels)
    assert len({*ours, *theirs}) == 2 * len(ours)
    command = Repository(installed, PYTHONPATH=str(installed))
    for name in ("letterpress", "otherpress"):
        code = f"import {name}; print({name}.__file__, {name}.MnistConfig.__module__)"
        output = command.run("python", "-c", code)
        assert output.split() == [str(installed / name / "__init__.py"), f"{name}.mnist.config"]
        assert "predict" in command.run(installed / "bin" / name, "--help")


@pytest.mark.long
def test_another_persons_pipeline_runs_from_a_stages_folder_of_its_own(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/bars.py").write_text(PIPELINE, encoding="utf-8")
    output = Repository(tmp_path, PYTHONPATH=str(installed)).run("python", "-m", "stages.bars")
    assert output.splitlines()[0] == str(installed / "letterpress")
    metrics = json.loads((tmp_path / "data/metrics.json").read_text(encoding="utf-8"))
    assert metrics["accuracy"] > 0.8  # chance is a third
    predictions = (tmp_path / "data/predictions.csv").read_text(encoding="utf-8")
    assert [row[:4] for row in predictions.splitlines()[1:]] == [f"{i:03d}," for i in range(30)]
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "stages", "data"}


def test_the_public_names_are_seven_and_imported_when_they_are_used() -> None:
    names = {"Example", "MnistConfig", "evaluate_splits", "load", "run", "train", "write_splits"}
    assert {*letterpress.__all__} == names
    for name in names:
        assert getattr(letterpress, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'evaluate'"):
        _ = letterpress.evaluate


def test_what_needs_no_tensorflow_does_not_wait_for_it() -> None:
    library = ["letterpress.cli", "letterpress.mistakes.show", "letterpress.transfer.curve"]
    stages = "fetch_mnist", "build_ascii_tarball", "measure_conditions", "transfer_curve"
    modules = [*(f"stages.{name}" for name in stages), *library]
    for names, heavy in ((["letterpress"], ("letterpress.", "pydantic")), (modules, "tensorflow")):
        code = f"import sys, {', '.join(names)}; print(*sys.modules)"
        imported = Repository(ROOT).run("python", "-c", code).split()
        assert not [name for name in imported if name.startswith(heavy)]


def test_the_config_class_of_the_essay_works_as_printed(tmp_path: Path) -> None:
    (tmp_path / "essay.py").write_text(ESSAY, encoding="utf-8")
    config_class = runpy.run_path(str(tmp_path / "essay.py"))["AsciiLetterConfig"]
    config = config_class()
    assert (config.n_classes, config.image_shape, config.learning_rate) == (26, (32, 32, 1), 0.005)
    params = tmp_path / "params.yaml"
    params.write_text("learning_rate: 0.01\nartifact_directory: here\n", encoding="utf-8")
    changes = {"learning_rate": 0.01, "artifact_directory": "here"}
    assert config_class.from_yaml(params) == config.replace(**changes)
