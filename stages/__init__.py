"""One file per stage of dvc.yaml: it reads params, calls `letterpress`, and writes under data/."""

import sys as _sys

if _sys.argv[0] == "-m":  # Python is about to run a stage: report failing imports in one line
    from letterpress.core.interrupts import prepare as _prepare

    _prepare()
