import subprocess
import sys

from tests.conftest import ROOT


def test_the_import_is_silent_and_leaves_the_process_as_it_was() -> None:
    code = """
import gc, sys
import stages.mnist.backend
assert gc.isenabled()
assert not {"matplotlib", "scipy"} & sys.modules.keys()
import matplotlib.figure, scipy.stats
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_package_that_was_imported_before_stays() -> None:
    code = """
import matplotlib
import stages.mnist.backend
import sys
assert sys.modules["matplotlib"] is matplotlib
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
