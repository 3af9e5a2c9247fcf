"""How a stage ends when something is wrong with what it was given: one line, exit code 1."""

from __future__ import annotations

import sys
from collections.abc import Callable


class PipelineError(Exception):
    """Something outside the program is wrong. The message says what, where, and what to do."""


def run(main: Callable[[], None]) -> None:
    """Runs a stage. An expected failure is one line on standard error instead of a traceback.

    Raises:
        SystemExit: code 1 after a PipelineError or an operating system's error (no such file, disk
            full, permission denied), 130 after Ctrl-C.
    """
    try:
        main()
    except (PipelineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
