"""Tiny letters, their params and a parent's features: what the comparison starts from."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist import processes
from stages.mnist.backend import keras
from stages.mnist.example import Example
from stages.mnist.model import build_features
from stages.mnist.records import write_splits
from stages.transfer.config import TransferConfig
from stages.transfer.measure_curve import FEATURES, RECORDS
from tests.conftest import Params, write_params

SIDE = 12
N_TRAIN, N_UNSEEN = 6, 3
"""Letters of each of three classes."""
PARAMS = {"n_classes": 3, "image_height": SIDE, "image_width": SIDE}


class Inputs(NamedTuple):
    folder: Path
    config: AsciiLetterConfig
    transfer: TransferConfig

    @property
    def train(self) -> Path:
        return self.folder / RECORDS / "train"

    @property
    def unseen(self) -> Path:
        return self.folder / RECORDS / "unseen"

    @property
    def features(self) -> Path:
        return self.folder / FEATURES


def draw_examples(n_per_class: int, seed: int) -> list[Example]:
    """Noisy images in which the class is the place of a bright bar; the classes are mixed."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(3 * n_per_class) % 3)
    images = random.integers(0, 200, (len(labels), SIDE, SIDE, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[1 + 4 * label : 3 + 4 * label] = 255
    return [Example(images[i], int(label), f"{i}.png") for i, label in enumerate(labels)]


def make_inputs(folder: Path, params: Params) -> Inputs:
    """Writes what the stage reads."""
    params["ascii_letter"] |= PARAMS
    write_params(folder, params)
    config = AsciiLetterConfig.from_yaml(folder / "params.yaml")
    splits = {"train": draw_examples(N_TRAIN, 1), "unseen": draw_examples(N_UNSEEN, 2)}
    write_splits(folder / RECORDS, splits, config)
    keras.utils.set_random_seed(99)
    extractor = build_features(config)
    # Not the moving averages of an untrained one, so that it shows whether they are kept.
    extractor.set_weights(
        [w + np.random.default_rng(i).random(w.shape) / 9 for i, w in enumerate(extractor.weights)]
    )
    (folder / FEATURES).parent.mkdir(parents=True)
    extractor.save_weights(folder / FEATURES)
    return Inputs(folder, config, TransferConfig.from_yaml(folder / "params.yaml"))


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params) -> Inputs:
    """To be read only."""
    return make_inputs(tmp_path_factory.mktemp("transfer"), copy.deepcopy(_tiny_params))


def use_processes(patch: pytest.MonkeyPatch, n_processes: int) -> None:
    """Measures in this number of processes, however many cores there are."""
    patch.setattr(processes, "n_cores", lambda: n_processes)
