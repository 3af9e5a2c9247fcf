"""Classifies prepared images, and lists and reads picture files."""

import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from letterpress.core.config import STANDARD, ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.evaluation.calibration import MOST_NONE, Calibration, check_finite
from letterpress.prediction.forward import Classifier
from letterpress.prediction.ink import Floats

_MOST_BYTES = 1 << 29
"""More than any picture file with the most pixels that are read."""


class Guess(NamedTuple):
    """A class and its probability."""

    name: str
    probability: float
    """0..1."""


class Answer(NamedTuple):
    """What the classifier makes of one image."""

    guesses: list[Guess]
    """All classes, the most probable first."""
    none: float
    """The probability that the image shows none of the classes; 0 if the classifier cannot tell."""

    @property
    def is_none(self) -> bool:
        """Whether the image most probably shows none of the classes."""
        return self.none > MOST_NONE

    def is_sure(self, least: float) -> bool:
        """Whether the first guess has at least this probability, as `Calibration.are_sure` says."""
        return not self.is_none and self.guesses[0].probability >= least


def open_classifier(config: ClassifierConfig, weights: Path) -> Any:
    """Opens a trained classifier: in NumPy, or in Keras if its architecture is not the standard one.

    Raises:
        PipelineError: the weights are missing, damaged or do not fit the config.
    """
    if config.architecture == STANDARD:
        return Classifier(config, weights)
    from letterpress.model.weights import load_classifier  # imports TensorFlow

    return load_classifier(config, weights)


def classify(
    classifier: Any, images: Floats, config: ClassifierConfig, calibration: Calibration
) -> list[Answer]:
    """Returns an answer for each image that `prepare` made.

    Raises:
        PipelineError: the classifier's outputs are NaN.
    """
    n, outputs = config.n_classes, classifier.predict_on_batch(images)  # [n, n_outputs]
    check_finite(outputs, config.section)
    return [
        Answer(
            [Guess(config.class_names[label], float(row[label])) for label in np.argsort(-row[:n])],
            float(row[n:].sum()),
        )
        for row in calibration.apply(outputs)
    ]


def read_file(name: str) -> bytes:
    """Reads a picture file; "-" is standard input.

    Raises:
        PipelineError: the file is too large.
        OSError: it cannot be read.
    """
    with nullcontext(sys.stdin.buffer) if name == "-" else open(name, "rb", opener=_open) as file:
        content = file.read(_MOST_BYTES + 1)  # a device may have no end
    if len(content) > _MOST_BYTES:
        raise PipelineError(f"{name}: larger than {_MOST_BYTES} bytes. Save it smaller")
    return content


def _open(name: str, flags: int) -> int:
    """Opens a file; a pipe that nobody writes to is empty, whereas `open` would wait forever."""
    if sys.platform == "win32":
        return os.open(name, flags)
    descriptor = os.open(name, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)  # to wait for what is being written
    return descriptor


def _walk(folder: str) -> tuple[list[Path], list[str]]:
    """Returns the files in a folder and its subfolders, sorted, and the folders that cannot be listed.

    Files that macOS adds are left out.
    """
    unlisted: list[str] = []
    walk = os.walk(folder, onerror=lambda error: unlisted.append(str(error.filename)))
    paths = sorted(Path(inner, name) for inner, _, names in walk for name in names)
    files = [path for path in paths if path.is_file()]
    return [p for p in files if not p.name.startswith(("._", ".DS_Store"))], unlisted


def list_files(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Replaces each folder by the pictures in it and its subfolders, sorted by path.

    Also returns the files in folders that are left out because Pillow reads no format with their
    ending. A folder without pictures, or a subfolder that cannot be listed, is in the list: reading
    it reports the reason.
    """
    Image.init()
    endings = {ending for ending, name in Image.EXTENSION.items() if name in Image.OPEN}
    files: list[str] = []
    left_out: list[str] = []
    for name in names:
        # Path.is_dir would raise an error if the name is too long.
        if name == "-" or not os.path.isdir(name):  # noqa: PTH112
            files.append(name)
            continue
        found, unlisted = _walk(name)
        pictures = [str(path) for path in found if path.suffix.lower() in endings]
        files += [*pictures, *unlisted] or [name]
        left_out += [str(path) for path in found if path.suffix.lower() not in endings]
    return files, left_out
