"""The time to classify one letter."""

import json
import subprocess
import sys

from tests.benchmarks.conftest import Measuring
from tests.conftest import ROOT


def test_one_letter(measuring: Measuring, quick: bool) -> None:
    words = [sys.executable, "-m", "tests.benchmarks.classify_one", "100" if quick else "500"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    milliseconds = 1000 * json.loads(done.stdout.splitlines()[-1])
    what = "one letter classified, model loaded, one core"
    measuring.value(what, milliseconds, unit="ms", goals=(2, 0.5))
