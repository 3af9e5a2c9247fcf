"""Classifies picture files: the command line that the predict modules of all pipelines share."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from stages.mnist.config import MnistConfig
from stages.mnist.errors import PipelineError
from stages.mnist.picture import Floats, open_picture, prepare

SURE = 0.9
"""The probability from which a guess counts as sure.

Of the test digits 97.8 % reach it, and 99.9 % of these are right, of the others 76 % (`predictions.csv`).
A picture unlike all that training saw can be wrong at any probability.
"""
_N_SHOWN = 3


class Guess(NamedTuple):
    """A class and how probable it is."""

    name: str
    probability: float
    """0..1."""


def classify(classifier: Any, images: Floats, config: MnistConfig) -> list[list[Guess]]:
    """Classifies images that `prepare` made.

    Args:
        classifier: what `build_classifier` built, with weights.
        images: float32 0..1 [batch, image_height, image_width, n_channels].
        config: class_names.

    Returns:
        For each image all classes, the most probable first.
    """
    return [
        [Guess(config.class_names[label], float(row[label])) for label in np.argsort(-row)]
        for row in classifier.predict_on_batch(images)  # [n_classes]
    ]


def read_pictures(
    names: Iterable[str], config: MnistConfig
) -> Iterator[tuple[str, Floats | PipelineError]]:
    """Yields the name and the prepared image of each picture, or what is wrong with it.

    Args:
        names: files, folders, and "-" for standard input. A folder stands for the files in it and
            in its folders, by name, whose ending is that of a format that Pillow reads.
        config: what `prepare` needs.
    """
    for name in names:
        inside = [name]
        if name != "-" and Path(name).is_dir():
            inside = _pictures_in(Path(name))
            if not inside:
                yield name, PipelineError("no pictures in this folder")
        for file in inside:
            try:
                content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
                yield file, prepare(open_picture(content), config)
            except PipelineError as error:
                yield file, error
            except OSError as error:
                yield file, PipelineError(error.strerror or str(error))


def _pictures_in(folder: Path) -> list[str]:
    Image.init()
    endings = {ending for ending, name in Image.EXTENSION.items() if name in Image.OPEN}
    files = (path for path in folder.rglob("*") if path.suffix.lower() in endings)
    return [str(path) for path in sorted(files) if path.is_file()]


def predict(config_class: type[MnistConfig], weights: Path) -> None:
    """Classifies the pictures that the command line names, and prints a line for each.

    A picture that cannot be classified is a line on standard error; the others go on.

    Raises:
        PipelineError: the params or the weights are missing or wrong.
        SystemExit: code 1 if a picture could not be classified, 2 if the command line is wrong.
    """
    parser = argparse.ArgumentParser(
        description="Says what character a picture shows, how probable it is, and the next two."
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a picture, a folder, or - (stdin)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    parser.add_argument(
        "--sure",
        type=float,
        default=SURE,
        metavar="P",
        help="not sure below P (default: %(default)s)",
    )
    arguments = parser.parse_args()
    config = config_class.from_yaml()
    from stages.mnist.model import build_classifier, load_weights  # TensorFlow: seconds

    classifier = build_classifier(config)
    load_weights(classifier, weights)
    show = _as_json if arguments.json else _as_text
    any_failed = False
    pictures = read_pictures(arguments.files, config)
    while batch := list(itertools.islice(pictures, config.batch_size)):
        images = [image for _, image in batch if not isinstance(image, PipelineError)]
        found = iter(classify(classifier, np.stack(images), config) if images else [])
        for name, image in batch:
            if isinstance(image, PipelineError):
                print(f"error: {name}: {image}", file=sys.stderr)
                any_failed = True
            else:
                print(show(name, next(found)[:_N_SHOWN], arguments.sure))
        sys.stdout.flush()
    if any_failed:
        sys.exit(1)


def _as_text(name: str, guesses: list[Guess], sure: float) -> str:
    first, *others = (f"{guess.name} {guess.probability:.1%}" for guess in guesses)
    doubt = "" if guesses[0].probability >= sure else ", not sure"
    return f"{name}: {first}{doubt} (or {', '.join(others)})"


def _as_json(name: str, guesses: list[Guess], sure: float) -> str:
    values = [{"class": name, "probability": round(p, 6)} for name, p in guesses]
    is_sure = guesses[0].probability >= sure
    return json.dumps({"file": name, "sure": is_sure, "guesses": values})
