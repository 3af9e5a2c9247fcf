"""Tiny params and digits, and copies of the project in temporary folders: all tests run offline."""

import copy
import hashlib
import shutil
import signal
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from letterpress.mnist.idx import FILES

pytest_plugins = ["tests.trained"]
ROOT = Path(__file__).parent.parent

Params = dict[str, Any]

TINY = """
n_epochs: 2
batch_size: 26
mnist: {n_epochs: 2, n_train_samples: 200, n_test_samples: 60}
ascii_letter: {n_images_per_class: 5, n_unseen_per_class: 4, n_train_samples: 104, n_test_samples: 26}
transfer: {labels_per_class: [1, 2], n_unseen_per_class: 2, n_seeds: 2, n_steps: 2}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest tests first, so that no worker is left alone with them at the end."""
    longest = "test_pipeline.py", "test_new_pipeline.py", "test_dvc_yaml.py", "test_package.py"
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.fixture(autouse=True)
def _accept_ctrl_c() -> None:
    """Ctrl-C is ignored in what a shell runs in the background, and after `errors.run`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def write_params(folder: Path, params: Params) -> None:
    text = yaml.safe_dump(params, sort_keys=False)
    (folder / "params.yaml").write_text(text, encoding="utf-8")


def write_digits(folder: Path, n_train: int = 200, n_test: int = 60) -> dict[str, str]:
    """Writes IDX files of noise in which a bright bar's row gives the class.

    Returns:
        The SHA-256 of each file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    sha256 = {}
    for split, n in (("train", n_train), ("t10k", n_test)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = random.integers(0, 60, (n, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4 + 2 * label : 6 + 2 * label, 4:24] = 255
        contents = {
            f"{split}-images-idx3-ubyte": struct.pack(">IIII", 0x803, n, 28, 28) + images.tobytes(),
            f"{split}-labels-idx1-ubyte": struct.pack(">II", 0x801, n) + labels.tobytes(),
        }
        for name, content in contents.items():
            (folder / name).write_bytes(content)
            sha256[name] = hashlib.sha256(content).hexdigest()
    return sha256


@pytest.fixture(scope="session")
def _tiny_params(tmp_path_factory: pytest.TempPathFactory) -> Params:
    params: Params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    digits = tmp_path_factory.mktemp("digits")
    sha256 = write_digits(digits)
    for key, value in yaml.safe_load(TINY).items():
        params[key] = params[key] | value if isinstance(value, dict) else value
    params["fetch_mnist"] = {"sources": [f"file:{digits}"], "sha256": [sha256[n] for n in FILES]}
    return params


@pytest.fixture
def tiny_params(_tiny_params: Params) -> Params:
    """The project's params with few examples and epochs, and digits from `write_digits`."""
    return copy.deepcopy(_tiny_params)


@pytest.fixture
def project(tmp_path: Path, tiny_params: Params, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny params and nothing else, the test's current folder."""
    write_params(tmp_path, tiny_params)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copy_project(target: Path, params: Params) -> None:
    """Copies the code and the settings of DVC and git to `target`, with these params, without data."""
    for name in ("letterpress", "stages"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, target / name, ignore=ignore)
    (target / ".dvc").mkdir()
    settings = ".gitignore", ".dvcignore", ".gitattributes", ".dvc/config", ".dvc/.gitignore"
    for name in ("dvc.yaml", *settings):
        shutil.copy(ROOT / name, target / name)
    write_params(target, params)
