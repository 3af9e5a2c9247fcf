"""The state of a training on several workers, kept after each epoch."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.mnist.files import replacing
from stages.mnist.workers import Workers

History = list[dict[str, float]]
"""Accuracy and loss of each epoch."""


class Checkpoint:
    """A file of the chief's with all variables and the history. The other workers get it from the chief.

    Args:
        path: a .npz file; without one nothing is kept.
        workers: all that train.
        variables: the Keras variables that change in a training.
        fingerprint: what the training is computed from; a file with another one is left aside.
    """

    def __init__(
        self, path: Path | None, workers: Workers, variables: Sequence[Any], fingerprint: str
    ) -> None:
        self._path, self._workers = path, workers
        self._variables, self._fingerprint = variables, fingerprint
        self.n_epochs = 0  # that are known to be kept

    def restore(self) -> History:
        """Sets the variables to what was saved; returns the epochs that were trained, often none."""
        content = self._read(self._path) if self._path and self._workers.is_chief else b""
        content = self._workers.from_chief(content)
        if not content:
            return []
        with np.load(io.BytesIO(content), allow_pickle=False) as saved:
            for index, variable in enumerate(self._variables):
                variable.assign(saved[str(index)])
            history: History = json.loads(str(saved["history"]))
        self.n_epochs = len(history)
        return history

    def _read(self, path: Path) -> bytes:
        """Returns the file's bytes, none if it is missing, or, which is told, of no use."""
        try:
            content = path.read_bytes()
            with np.load(io.BytesIO(content), allow_pickle=False) as saved:
                if str(saved["fingerprint"]) == self._fingerprint:
                    _ = [saved[name] for name in saved.files]  # each has a checksum
                    return content
                reason = "of other params, records or workers"
        except FileNotFoundError:
            return b""
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            reason = "damaged"
        print(f"{path}: the checkpoint is {reason}: the training begins anew", flush=True)
        return b""

    def save(self, history: History) -> None:
        """Lets the chief write the file, and all wait until it has."""
        if not self._path:
            return
        if self._workers.is_chief:
            values: dict[str, Any] = {str(i): np.asarray(v) for i, v in enumerate(self._variables)}
            values |= {"history": json.dumps(history), "fingerprint": self._fingerprint}
            with replacing(self._path) as path:
                np.savez(path, **values)
            self.n_epochs = len(history)
        self._workers.from_chief(b"")
        self.n_epochs = len(history)

    def remove(self) -> None:
        """Removes the chief's file: the training is over."""
        if self._path and self._workers.is_chief:
            self._path.unlink(missing_ok=True)


def fingerprint(parts: Iterable[object], files: Iterable[Path]) -> str:
    """Returns a hash of the parts, by their repr, and of the files' contents."""
    digest = hashlib.sha256(repr(list(parts)).encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
