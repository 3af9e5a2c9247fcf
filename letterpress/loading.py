"""Trained classifiers by their names, for Python and for the command line."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.config import STANDARD, ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.params import read_params
from letterpress.evaluation.calibration import MOST_NONE, read_calibration
from letterpress.images.config import ImagesConfig
from letterpress.images.image import decode
from letterpress.mnist.config import MnistConfig
from letterpress.prediction.classify import (
    Answer,
    classify,
    classify_files,
    open_classifier,
    read_images,
)
from letterpress.prediction.picture import ink_size

_NAMED: dict[str, type[ClassifierConfig]] = {"letters": AsciiLetterConfig, "digits": MnistConfig}
_ADDRESS = re.compile(r"\w+://|[\w.-]+@[\w.-]+:|.*\.git$")
_FILES = ("classifier.weights.h5", "calibration.json")


class Classifier:
    """A trained classifier with its calibration. `load` returns one."""

    def __init__(self, name: str, project: Path) -> None:
        params = project / "params.yaml"
        self.name = name
        self.config = _config_class(name, params).from_yaml(params)
        if self.config.architecture != STANDARD:
            path = project / self.config.architecture
            self.config = self.config.replace(architecture=str(path))
        self.weights, calibration = (
            project / "data" / self.config.section / file for file in _FILES
        )
        self.calibration = read_calibration(calibration)

    def predict(self, picture: str | Path) -> Answer:
        """Classifies a picture file, in any format that Pillow reads.

        Returns:
            The classes with their calibrated probabilities (0..1), the most probable first.

        Raises:
            TypeError: `picture` is not a path, but an array or an image for example.
            PipelineError: the picture cannot be read or, for characters, does not show exactly one;
                the weights are missing or do not fit the config.
        """
        images = read_images(os.fspath(picture), self.config, False, self._read)
        if isinstance(images, PipelineError):
            raise images
        return classify(self._network, np.stack(images), self.config, self.calibration)[0]

    def predict_files(
        self, names: Iterable[str], each: bool = False
    ) -> Iterator[tuple[str, list[Answer] | PipelineError]]:
        """Yields each file's name with its answers, or why there are none; see `classify_files`."""
        inputs = self.config, self.calibration
        return classify_files(names, lambda: self._network, *inputs, each, self._read)

    def describe(self, calibrated: bool) -> str:
        """Returns as JSON what other programs need to use the network: see docs/export.md.

        `calibrated` states whether the network's outputs have the temperature applied already.
        """
        config = self.config
        fit = {"fit": "character", "longer_side": ink_size(config), "placement": config.placement}
        if isinstance(config, ImagesConfig):
            fit = {"fit": "picture", "inverted": config.invert}
        description = {
            "pipeline": self.name,
            "input": {"shape": [None, *config.image_shape], "dtype": "float32", "range": [0, 1]},
            "preprocessing": {**fit, "background": 0},
            "classes": config.output_names,
            "calibrated": calibrated,
            "calibration": self.calibration._asdict(),
            "most_none": MOST_NONE,
            "params": {config.section: config.model_dump()},
        }
        return json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def _read(self) -> Callable[[str, bytes], npt.NDArray[np.float32]] | None:
        """Returns what reads a whole picture; None for characters, which are looked for in it."""
        config = self.config
        if not isinstance(config, ImagesConfig):
            return None
        return lambda name, content: np.divide(decode(name, content, config), 255, dtype=np.float32)

    @cached_property
    def _network(self) -> Any:
        return open_classifier(self.config, self.weights)


def load(
    name: str,
    project: str | Path = ".",
    revision: str | None = None,
    weights: str | Path | None = None,
) -> Classifier:
    """Loads a classifier of a project: "letters", "digits", or a pipeline of `letterpress new`.

    `project` is its folder or the address of its git repository, whose DVC remote has the weights;
    `revision` is a commit, branch or tag of the repository. `weights` is the path or the address
    of released weights instead; then no project is read.

    Raises:
        PipelineError: the pipeline is unknown or not trained, the project or the weights cannot be
            fetched, or released files are damaged.
    """
    if weights is None and revision is None and not _ADDRESS.match(str(project)):
        return Classifier(name, Path(project))
    with tempfile.TemporaryDirectory() as folder:
        if weights is None:
            _fetch(name, str(project), revision, Path(folder))
        else:
            _unpack(name, str(weights), Path(folder))
        try:
            classifier = Classifier(name, Path(folder))
            if classifier.config.architecture != STANDARD:
                raise PipelineError(
                    "it has an architecture of its own, and code from an address is not run. Clone "
                    "the repository, and load from its folder"
                )
            _ = classifier._network  # before its file is removed
        except PipelineError as error:
            reason = " ".join(str(error.__cause__ or error).replace(f"{folder}/", "").split())
            raise PipelineError(
                f"{weights or project}: not a classifier of {name} ({reason:.300}). Use another version"
            ) from error
        return classifier


def _unpack(name: str, address: str, folder: Path) -> None:
    """Writes the params, the calibration and the weights of a release, as a project has them."""
    from letterpress.released import read_released  # imports requests

    released = read_released(name, address)
    (folder / "params.yaml").write_bytes(released.params)
    target = folder / "data" / _config_class(name, folder / "params.yaml").section
    target.mkdir(parents=True)
    for file, content in zip(_FILES, (released.weights, released.calibration), strict=True):
        (target / file).write_bytes(content)


def _fetch(name: str, address: str, revision: str | None, folder: Path) -> None:
    """Downloads the params and the weights of a pipeline from a git repository and its remote."""
    from dvc.api import DVCFileSystem

    try:
        files = DVCFileSystem(url=address, rev=revision)
        files.get_file("params.yaml", str(folder / "params.yaml"))
        section = _config_class(name, folder / "params.yaml").section
        (folder / "data" / section).mkdir(parents=True)
        for file in _FILES:
            files.get_file(f"data/{section}/{file}", str(folder / "data" / section / file))
    except PipelineError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{address}: cannot be fetched ({reason:.300}). Check the address, the revision and "
            "its DVC remote"
        ) from error


def list_pipelines(params: Path) -> list[str]:
    """Returns the names of the pipelines of a params.yaml that `load` knows."""
    sections = read_params(params)
    known = [key for key, own in sections.items() if isinstance(own, dict) and "classes" in own]
    return [*_NAMED, *known]


def _config_class(name: str, params: Path) -> type[ClassifierConfig]:
    if name in _NAMED:
        return _NAMED[name]
    if name not in (known := list_pipelines(params)):
        raise PipelineError(
            f"{name!r}: no such pipeline in {params}. Use one of {', '.join(known)}"
        )
    return ImagesConfig.named(name)
