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


def test_keras_does_not_import_matplotlib_and_leaves_it_to_others() -> None:
    code = (
        "import sys, stages.mnist.backend; assert 'matplotlib' not in sys.modules\n"
        "import matplotlib.figure"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
