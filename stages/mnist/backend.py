"""TensorFlow and Keras, imported without the dozen lines that they print at start-up.

Import them from here, and only in modules that compute: it costs seconds a process.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def _standard_error_held_back() -> Iterator[None]:
    """Keeps what C++ code writes to file descriptor 2, and prints it only if the block fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:  # not Ctrl-C
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextmanager
def _imported_fast() -> Iterator[None]:
    """Keeps the garbage collector from half a million objects that stay, and Keras from what it can do without."""
    gc.disable()
    hidden = {"matplotlib", "scipy"} - sys.modules.keys()
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is an ImportError
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        gc.freeze()
        gc.enable()


with _standard_error_held_back(), _imported_fast():
    import keras
    import tensorflow as tf

__all__ = ["keras", "tf"]
