"""Reproducible transfer learning with DVC and Keras. Names are imported when they are first used."""

from importlib import import_module
from typing import Any

_MODULES = {
    "MnistConfig": "mnist.config",
    "Example": "records.example",
    "write_splits": "records.write",
    "train": "training.loop",
    "evaluate_splits": "evaluation.metrics",
    "run": "core.stage",
    "load": "loading",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
