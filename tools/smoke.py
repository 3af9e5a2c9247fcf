"""Runs the whole pipeline on a few images in a temporary folder, to see that everything works here.

Downloads the digits only if data/mnist/raw is missing. The results mean nothing.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from dvc.utils.hydra import apply_overrides

from letterpress.core.config import STANDARD
from letterpress.core.params import read_params
from letterpress.images.config import ImagesConfig
from tools.repository import make_project

FETCHED = {"fetch_mnist": "data/mnist/raw", "fetch_typefaces": "data/typefaces"}
OVERRIDES = f"""
    architecture={STANDARD}
    n_epochs=1 mnist.n_epochs=1
    mnist.n_train_samples=200 mnist.n_validation_samples=50 mnist.n_test_samples=60
    ascii_letter.n_images_per_class=4 ascii_letter.n_validation_per_class=2
    ascii_letter.n_unseen_per_class=4 ascii_letter.n_train_samples=104
    ascii_letter.n_validation_samples=26 ascii_letter.n_test_samples=26
    transfer.labels_per_class=[1,2] transfer.n_test_per_class=2
    transfer.n_seeds=2 transfer.n_steps=2 conditions.n_images=4
"""
"""The params that decide how long a run takes, as `dvc exp run -S` takes them."""


def copy_project(target: Path) -> None:
    """Copies what a run needs from the current folder, with tiny params and without data."""
    for name in ("letterpress", "stages"):
        shutil.copytree(name, target / name)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(name, target)
    make_project(target)
    overrides = OVERRIDES.split()
    for stage, data in FETCHED.items():
        if Path(data).is_dir():
            overrides.append(f"{stage}.sources=['file:{Path(data).resolve()}']")
    for name in ImagesConfig.list_names(read_params(Path("dvc.yaml"))):
        overrides.append(f"{name}.n_epochs=1")
        config = ImagesConfig.named(name).from_yaml()
        for path in (config.source, config.architecture):
            if Path(path).exists() and not (target / path).exists():
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                # A link, because the data of a pipeline may be large.
                (target / path).symlink_to(Path(path).resolve())
    apply_overrides(target / "params.yaml", overrides)


def main() -> None:
    architecture = read_params(Path("params.yaml")).get("architecture", STANDARD)
    if architecture != STANDARD:
        print(f"{STANDARD} instead of {architecture}: this does not test your architecture")
    with tempfile.TemporaryDirectory(prefix="letterpress-smoke-") as folder:
        copy_project(Path(folder))
        subprocess.run(["dvc", "repro"], cwd=folder, check=True)
    print("The pipeline works: every stage ran")
