import subprocess
import sys

from tests.conftest import ROOT

PROGRAM = """
import gc, sys
if sys.argv[1] == "imported before":
    import matplotlib
import letterpress.core.tensorflow
assert gc.isenabled()
assert {name for name in ("matplotlib", "scipy") if name in sys.modules} == set(sys.argv[2:])
import matplotlib.figure
if sys.argv[1] == "first":
    import scipy.stats
"""


def test_the_import_is_silent_and_keeps_the_modules_that_were_imported() -> None:
    for arguments in (["first"], ["imported before", "matplotlib"]):
        command = [sys.executable, "-c", PROGRAM, *arguments]
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
