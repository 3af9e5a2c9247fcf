"""The stages of the pipelines: a verb is a stage you run, a noun a library you import. A child imports its parent only."""

import sys as _sys

if _sys.argv[0] == "-m":  # a stage is about to run: what stops its imports is one line, too

    def _say(kind, error, traceback):  # type: ignore[no-untyped-def]
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted", file=_sys.stderr)
        elif issubclass(kind, ModuleNotFoundError):
            print(
                f"error: {_sys.executable} has no package {error.name}: activate the virtual "
                "environment (`make install` makes it), or pip install -r requirements.txt",
                file=_sys.stderr,
            )
        else:
            _sys.__excepthook__(kind, error, traceback)

    _sys.excepthook = _say

    from stages.mnist.errors import handle_interrupts as _handle_interrupts

    _handle_interrupts()
