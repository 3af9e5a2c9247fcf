"""Tiny letters, their config and a parent's features: the inputs of the transfer curve."""

from pathlib import Path

import numpy as np
import pytest

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.tensorflow import tf
from letterpress.model.network import build_features
from letterpress.records.example import Example
from letterpress.records.write import write_splits
from letterpress.transfer.config import TransferConfig
from stages.transfer_curve import FEATURES, RECORDS
from tests.conftest import Params, write_params

N_TRAIN, N_UNSEEN = 6, 3  # letters of each of three classes
CONFIG = AsciiLetterConfig(
    n_classes=3, image_height=12, image_width=12, none_share=0.0, blocks=((8, 16),)
)
STARTS = ["scratch", "pretrained", "frozen"]
VALUES: Params = {"n_test_per_class": 2, "n_seeds": 2, "n_steps": 3, "batch_size": 8}
VALUES |= {"starts": STARTS, "split": "unseen", "learning_rate": 0.01}
TRANSFER = TransferConfig(labels_per_class=[1, 4, 2], **VALUES)
# The stage compiles each training, and these are short enough for different accuracies.
OF_STAGE = TRANSFER.replace(
    starts=STARTS[:2], labels_per_class=[1, 2], n_steps=2, learning_rate=0.002
)


def patch_threads(patch: pytest.MonkeyPatch) -> list[int]:
    """Records the requested numbers of threads; TensorFlow refuses them once it runs."""
    requested: list[int] = []
    for name in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
        patch.setattr(tf.config.threading, name, requested.append)
    return requested


def draw_examples(n_per_class: int, seed: int) -> list[Example]:
    """Noisy images whose class is the position of a bright bar; the classes are mixed."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(3 * n_per_class) % 3)
    images = random.integers(0, 200, (len(labels), *CONFIG.image_shape), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[1 + 4 * label : 3 + 4 * label] = 255
    return [Example(images[i], int(label), f"{i}.png") for i, label in enumerate(labels)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the files that the stage reads."""
    folder = tmp_path_factory.mktemp("transfer")
    params = {"ascii_letter": CONFIG.model_dump(), "transfer": OF_STAGE.model_dump()}
    write_params(folder, params)
    splits = {"train": draw_examples(N_TRAIN, 1), "unseen": draw_examples(N_UNSEEN, 2)}
    write_splits(folder / RECORDS, splits, CONFIG)
    extractor = build_features(CONFIG)
    random = np.random.default_rng(99)
    # All weights are random, also the moving averages, to notice when one is not loaded.
    extractor.set_weights([random.random(weights.shape) / 9 for weights in extractor.weights])
    (folder / FEATURES).parent.mkdir(parents=True)
    extractor.save_weights(folder / FEATURES)
    return folder
