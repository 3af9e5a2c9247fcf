"""How long one letter takes to be classified."""

import json
import subprocess
import sys

from tests.benchmarks.conftest import Measuring
from tests.conftest import ROOT


def test_one_letter(measuring: Measuring, quick: bool) -> None:
    words = [sys.executable, "-m", "tests.benchmarks.classify_one", "100" if quick else "500"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ways = json.loads(done.stdout.splitlines()[-1])
    seconds = measuring.seconds(lambda: ways["predict_on_batch"], rounds=1)
    what = "one letter classified, model loaded, one core"
    measuring.value(what, 1000 * seconds, "ms", 2, 0.5)
    for name, seconds in ways.items():
        measuring.row("ways", what=f"`{name}`", milliseconds=1000 * seconds)
