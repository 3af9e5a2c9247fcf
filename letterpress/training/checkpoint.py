"""The state of a training, saved after each epoch, so that a killed training can resume."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from letterpress.core.files import replacing
from letterpress.core.tensorflow import keras, tf
from letterpress.training.workers import Strategy


class Checkpoint:
    """A file with the history and all variables of a training. Only the chief reads and writes it.

    Without `path`, a .npz file, nothing is saved. `inputs` is what the training depends on: values,
    and the paths of files. A checkpoint of other inputs, code, libraries or number of workers is
    ignored.
    """

    def __init__(
        self, path: Path | None, strategy: Strategy, classifier: Any, inputs: Iterable[object]
    ) -> None:
        self._path = path if strategy.is_chief else None
        self._strategy = strategy
        # Keras counts no metrics among the variables: they are reset in each epoch.
        self._variables = [*classifier.variables, *classifier.optimizer.variables]
        self.best: list[Any] = []
        """The classifier's weights after the best epoch, if the caller keeps them."""
        self._fingerprint = ""
        if self._path:
            code = sorted(Path(__file__).parents[1].rglob("*.py"))  # of the whole package
            versions = strategy.n_workers, tf.__version__, keras.__version__
            digest = hashlib.sha256()
            for part in [*inputs, *versions, *code]:
                content = part.read_bytes() if isinstance(part, Path) else repr(part).encode()
                # Hashed one by one: the same bytes, divided otherwise, must not match.
                digest.update(hashlib.sha256(content).digest())
            self._fingerprint = digest.hexdigest()

    def restore(self) -> list[dict[str, float]]:
        """Restores the variables and `best`; returns the logs of each epoch so far, often none."""
        content = self._strategy.broadcast(self._read(self._path) if self._path else b"")
        if not content:
            return []
        with np.load(io.BytesIO(content), allow_pickle=False) as saved:
            for index, variable in enumerate(self._variables):
                variable.assign(saved[str(index)])
            n_best = sum(name.startswith("best") for name in saved.files)
            self.best = [saved[f"best{index}"] for index in range(n_best)]
            return list(json.loads(str(saved["history"])))

    def _read(self, path: Path) -> bytes:
        """Returns the file's bytes; none if it is missing, damaged or of another training."""
        try:
            content = path.read_bytes()
            with np.load(io.BytesIO(content), allow_pickle=False) as saved:
                if str(saved["fingerprint"]) == self._fingerprint:
                    _ = [saved[name] for name in saved.files]  # verifies the checksums
                    n_epochs = len(json.loads(str(saved["history"])))
                    print(f"{path}: resuming after epoch {n_epochs}", flush=True)
                    return content
                reason = "different params, data, code or number of workers"
        except FileNotFoundError:
            return b""
        except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile):
            reason = "damaged"
        print(f"{path}: checkpoint ignored ({reason}): training from scratch", flush=True)
        return b""

    def save(self, history: list[dict[str, float]]) -> None:
        """Writes the file, replacing the previous epoch's."""
        if self._path:
            arrays: dict[str, Any] = {str(i): np.asarray(v) for i, v in enumerate(self._variables)}
            arrays |= {f"best{index}": weight for index, weight in enumerate(self.best)}
            text = json.dumps(history, allow_nan=False)
            with replacing(self._path) as path:
                np.savez(path, history=text, fingerprint=self._fingerprint, **arrays)

    def remove(self) -> None:
        """Removes the file when the training is complete."""
        if self._path:
            self._path.unlink(missing_ok=True)
