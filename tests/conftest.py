"""Tiny params and digits, and copies of the project in temporary folders: all tests run offline."""

import copy
import errno
import hashlib
import io
import os
import shutil
import signal
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from itertools import starmap
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import yaml
from PIL import Image

from letterpress.core.config import STANDARD
from letterpress.images.config import ImagesConfig
from letterpress.mnist.idx import FILES

pytest_plugins = ["tests.trained"]
ROOT = Path(__file__).parent.parent

Params = dict[str, Any]

IMAGES = ImagesConfig.list_names(yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8")))
"""The pipelines of `letterpress new`."""

TINY = """
architecture: letterpress/model/features.py
n_epochs: 2
validation_freq: 1
batch_size: 26
blocks: [[4], [4]]
dense_units: 8
mnist: {n_epochs: 2, n_train_samples: 180, n_validation_samples: 20, n_test_samples: 60}
ascii_letter: {n_images_per_class: 4, n_validation_per_class: 2, n_unseen_per_class: 4,
  n_train_samples: 104, n_validation_samples: 26, n_test_samples: 26}
transfer: {starts: [pretrained], labels_per_class: [1], n_test_per_class: 2, n_seeds: 2, n_steps: 2}
conditions: {n_images: 1}
"""

# Families for the tests: package, style, split and files, which matplotlib brings along.
TYPEFACES = (
    ("dejavu-sans", "sans-serif", "train", ("DejaVuSans", "DejaVuSans-Bold")),
    ("dejavu-serif", "serif", "train", ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic")),
    ("dejavu-oblique", "handwriting", "train", ("DejaVuSans-Oblique",)),
    ("stix-italic", "script", "train", ("STIXGeneralItalic",)),
    ("dejavu-mono", "sans-serif", "validation", ("DejaVuSansMono",)),
    ("mono-oblique", "handwriting", "validation", ("DejaVuSansMono-Oblique",)),
    ("stix", "serif", "unseen", ("STIXGeneral", "STIXGeneralBol")),
    ("cm-sans", "sans-serif", "unseen", ("cmss10",)),
    ("cm-typewriter", "handwriting", "unseen", ("cmtt10",)),
)


def pytest_xdist_auto_num_workers() -> int:
    """Starts two workers more than there are cores, as tests of browsers and servers wait."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of a reproduced repository first: one worker makes it, none waits for it."""
    items.sort(key=lambda item: "reproduced" not in getattr(item, "fixturenames", ()))


@pytest.fixture(autouse=True)
def _accept_ctrl_c() -> None:
    """Ctrl-C is ignored in what a shell runs in the background, and after `stage.run`."""
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


def locked(folder: Path) -> Callable[..., Any]:
    """Returns an `os.scandir` for which a folder cannot be listed: the tests may run as root."""
    listed = os.scandir

    def scandir(path: str | int) -> Any:  # an open folder has a number
        if not isinstance(path, int) and Path(path) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listed(path)

    return scandir


def write_images(source: Path, classes: Iterable[str], splits: Iterable[str] = ()) -> None:
    """Writes a folder, zip file or tar file with six images of noise per class (and split)."""
    folders = [f"{split}/{name}" for split in splits for name in classes] or list(classes)
    files = {}
    for number, folder in enumerate(folders):
        for seed in range(6 * number, 6 * number + 6):
            noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(content := io.BytesIO(), "PNG")
            files[f"{folder}/{seed}.png"] = content.getvalue()
    source.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".zip":
        with zipfile.ZipFile(source, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    elif ".tar" in source.suffixes or source.suffix == ".tgz":
        with tarfile.open(source, "w:gz") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    else:
        for name, data in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)


def write_sources(target: Path, params: Params) -> list[str]:
    """Writes small data for the pipelines of `letterpress new`. Returns where they are."""
    sources = []
    for name in IMAGES:
        values = params.get(name, {})
        if "source" in values:
            given = [s for s in ("test", "validation") if f"{s}_share" not in values]
            splits = ["train", *given] if given else []
            write_images(target / values["source"], values["classes"], splits)
            sources.append(values["source"])
    return sources


def write_typefaces(fonts: Path, table: Path) -> None:
    """Writes font files to one folder, and the table and the hashes that name them to another."""
    ttf = Path(matplotlib.get_data_path(), "fonts/ttf")
    rows, hashes = ["family,package,version,style,split,license"], []
    fonts.mkdir(parents=True, exist_ok=True)
    for package, style, split, names in TYPEFACES:
        rows.append(f"{package.title()},{package},1.0,{style},{split},none")
        for number, name in enumerate(names):
            content = (ttf / f"{name}.ttf").read_bytes()
            file = f"{package}-latin-{4 + number}00-normal.ttf"
            (fonts / file).write_bytes(content)
            hashes.append(f"{hashlib.sha256(content).hexdigest()}  {file}")
    (table / "typefaces.csv").write_text("\n".join(rows) + "\n")
    (table / "typefaces.sha256").write_text("\n".join(hashes) + "\n")


@pytest.fixture(scope="session")
def _typefaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("typefaces")
    write_typefaces(folder / "fonts", folder)
    return folder


def replace_typefaces(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Returns the folder of the font files."""
    module = "letterpress.ascii_letter.typefaces"
    patch.setattr(f"{module}._TABLE", folder / "typefaces.csv")
    patch.setattr(f"{module}._HASHES", folder / "typefaces.sha256")
    # Worker processes would not know these.
    patch.setattr("letterpress.jobs.map.local_map", starmap)
    return folder / "fonts"


@pytest.fixture
def typefaces(_typefaces: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the font files of TYPEFACES, which replace those of the project."""
    return replace_typefaces(_typefaces, monkeypatch)


@pytest.fixture(scope="session")
def _tiny_params(tmp_path_factory: pytest.TempPathFactory, _typefaces: Path) -> Params:
    params: Params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    digits = tmp_path_factory.mktemp("digits")
    sha256 = write_digits(digits)
    for key, value in yaml.safe_load(TINY).items():
        params[key] = params[key] | value if isinstance(value, dict) else value
    for name in IMAGES:
        params[name] = params[name] | {"n_epochs": 2}
    params["fetch_typefaces"] = {"sources": [f"file:{_typefaces / 'fonts'}"]}
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
    """Copies the code and the settings of DVC and git to `target`, with these params, without data.

    The table of typefaces is that of the tests.
    """
    for name in ("letterpress", "stages"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, target / name, ignore=ignore)
    with tempfile.TemporaryDirectory() as fonts:
        write_typefaces(Path(fonts), target / "letterpress/ascii_letter")
    (target / ".dvc").mkdir()
    settings = ".gitignore", ".dvcignore", ".gitattributes", ".dvc/config", ".dvc/.gitignore"
    for name in ("dvc.yaml", *settings):
        shutil.copy(ROOT / name, target / name)
    write_params(target, params)
    write_sources(target, params)
    for name in IMAGES:
        architecture = params.get(name, {}).get("architecture", STANDARD)
        if not (target / architecture).exists():
            (target / architecture).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / architecture, target / architecture)
