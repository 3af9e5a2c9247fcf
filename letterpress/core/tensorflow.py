"""TensorFlow and Keras, imported without the log lines that they print at start-up.

Import this module only where tensors are computed: the import costs about two seconds per process.
"""

import gc
import os
import sys

from letterpress.core.interrupts import silent_stderr

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Speed up the import: pause garbage collection, and hide optional packages from Keras.
gc.disable()
_hidden = {"matplotlib", "scipy"} - sys.modules.keys()
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type]  # None: an ImportError
try:
    with silent_stderr():
        import keras
        import tensorflow as tf
finally:
    for _name in _hidden:
        del sys.modules[_name]
    gc.freeze()  # half a million objects that stay
    gc.enable()

__all__ = ["keras", "tf"]
