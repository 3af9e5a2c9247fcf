"""A stage that needs no TensorFlow does not wait for it."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    "module",
    ["stages.mnist.fetch", "stages.ascii_letter.build_tarball", "stages.mistakes.show"],
)
def test_a_stage_without_tensorflow_does_not_import_it(module: str) -> None:
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
