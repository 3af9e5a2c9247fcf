"""Runs a tool, as the Makefile does.

    python -m tools NAME [VALUE ...] [--OPTION ...]

They are the parameters of the tool's function `main`, which states their types and limits.
"""

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

from pydantic import ValidationError, validate_call

from letterpress.core.errors import PipelineError


def main() -> None:
    """Calls the tool. An expected error is one line and exit code 1."""
    name, *words = sys.argv[1:] or [""]
    if not (name.isidentifier() and find_spec(f"tools.{name}")):
        sys.exit(f"error: tools: no such tool (got {name!r}). See `make help`")
    values = [word for word in words if not word.startswith("--")]
    options = {word[2:].replace("-", "_"): True for word in words if word.startswith("--")}
    try:
        # Converts the words to the annotated types, and checks the limits.
        validate_call(import_module(f"tools.{name}").main)(*values, **options)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        sys.exit(f"error: {name}: {problem} (got {' '.join(words)}). See `make help`")
    except (PipelineError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
