"""Trained classifiers by their names, for Python and for the command line."""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.config import STANDARD, ClassifierConfig
from letterpress.core.errors import PipelineError
from letterpress.core.params import read_params
from letterpress.evaluation.calibration import MOST_NONE, read_calibration
from letterpress.images.config import ImagesConfig
from letterpress.images.image import decode
from letterpress.mnist.config import MnistConfig
from letterpress.prediction.classify import Answer, classify, open_classifier, read_file
from letterpress.prediction.ink import Floats
from letterpress.prediction.picture import ink_size, open_picture, prepare, prepare_each

_NAMED: dict[str, type[ClassifierConfig]] = {"letters": AsciiLetterConfig, "digits": MnistConfig}
# With a scheme, as user@host:path, or ending in .git; all else is a folder.
_ADDRESS = re.compile(r"\w+://|[\w.-]+@[\w.-]+:|.*\.git$")
_FILES = ("classifier.weights.h5", "calibration.json")


class Classifier:
    """A trained classifier with its calibration. `load` returns one."""

    def __init__(self, name: str, project: Path) -> None:
        params = project / "params.yaml"
        self.name = name
        self.config = _config_class(name, params).from_yaml(params)
        if self.config.architecture != STANDARD:  # relative to the project, wherever Python runs
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
        ((_, answers),) = self.predict_files([os.fspath(picture)])
        if isinstance(answers, PipelineError):
            raise answers
        return answers[0]

    def predict_files(
        self, names: Iterable[str], each: bool = False
    ) -> Iterator[tuple[str, list[Answer] | PipelineError]]:
        """Yields each file's name with an answer per character, or the reason why there is none.

        Unless `each`, more than one character in a picture is such a reason.
        """
        names = iter(names)
        while batch := list(islice(names, self.config.batch_size)):
            read = [self._read(name, each) for name in batch]
            images = [image for found in read if isinstance(found, list) for image in found]
            # The network is loaded once there are images: until then, its weights may be missing.
            answers = iter(self._classify(np.stack(images)) if images else [])
            for name, found in zip(batch, read, strict=True):
                if isinstance(found, PipelineError):
                    yield name, found
                else:
                    yield name, list(islice(answers, len(found)))

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

    def _read(self, name: str, each: bool) -> list[Floats] | PipelineError:
        """Returns the images that the network sees of a file, or what is wrong with it."""
        try:
            content = read_file(name)
            if isinstance(self.config, ImagesConfig):  # the whole picture
                return [np.divide(decode(name, content, self.config), 255, dtype=np.float32)]
            picture = open_picture(name, content)
            return prepare_each(picture, self.config) if each else [prepare(picture, self.config)]
        except PipelineError as error:
            return error
        except IsADirectoryError:
            return PipelineError(f"{name}: no pictures in this folder")
        except MemoryError:
            return PipelineError(f"{name}: not enough memory. Make the picture smaller")
        except Exception as error:  # noqa: BLE001  # the other files go on
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return PipelineError(f"{name}: {reason}")

    def _classify(self, images: Floats) -> list[Answer]:
        return classify(self._network, images, self.config, self.calibration)

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
            from letterpress.released import read_released  # imports requests

            released = read_released(name, str(weights))
            _copy(name, lambda path: released[path.rpartition("/")[2]], Path(folder))
        try:
            classifier = Classifier(name, Path(folder))
            if classifier.config.architecture != STANDARD:
                raise PipelineError(
                    "it has an architecture of its own, and code from an address is not run. Clone "
                    "the repository, and load from its folder"
                )
            _ = classifier._network  # before its file is removed
        except PipelineError as error:
            reason = shorten(str(error.__cause__ or error).replace(f"{folder}/", ""), 300)
            raise PipelineError(
                f"{weights or project}: not a classifier of {name} ({reason}). Use another version"
            ) from error
        return classifier


def _copy(name: str, read: Callable[[str], bytes], folder: Path) -> None:
    """Writes the params, the weights and the calibration of a pipeline, as a project has them."""
    (folder / "params.yaml").write_bytes(read("params.yaml"))
    data = Path("data", _config_class(name, folder / "params.yaml").section)
    (folder / data).mkdir(parents=True)
    for file in _FILES:
        (folder / data / file).write_bytes(read((data / file).as_posix()))


def _fetch(name: str, address: str, revision: str | None, folder: Path) -> None:
    """Copies a pipeline from a git repository and its DVC remote."""
    from dvc.api import DVCFileSystem

    try:
        _copy(name, DVCFileSystem(url=address, rev=revision).read_bytes, folder)
    except PipelineError:
        raise
    except Exception as error:
        raise PipelineError(
            f"{address}: cannot be fetched ({shorten(str(error), 300)}). Check the address, the "
            "revision and its DVC remote"
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
