"""The cost of a letter, and whether it grows with the number of letters."""

import io
import json
import subprocess
import sys
import time
from itertools import starmap
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from letterpress.ascii_letter import pen, typefaces
from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.ascii_letter.drawing import draw_tarballs
from tests.benchmarks.conftest import Measuring, rounded
from tests.benchmarks.networks import seconds_of
from tests.conftest import ROOT

TYPEFACES = ROOT / "data/typefaces"


def test_letters(measuring: Measuring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("letterpress.jobs.map.local_map", starmap)  # in this process
    plt = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")
    plt.switch_backend("agg")
    config = AsciiLetterConfig.from_yaml(ROOT / "params.yaml")
    per_class = config.n_images_per_class + config.n_validation_per_class
    per_class += config.n_unseen_per_class
    n = round(config.n_classes * per_class * (1 + config.pen_share))
    n += config.n_none(n)

    def build() -> None:
        for function in (typefaces._font, typefaces.draw_ink, pen.skeleton):
            function.cache_clear()
        draw_tarballs(tmp_path / "raw", TYPEFACES, config)

    def draw_figures() -> None:
        """Draws each letter as a plain figure, cropped and scaled down, as the essay does."""
        for name in config.class_names:
            figure, axes = plt.subplots()
            axes.text(0.5, 0.5, name, size=100)
            axes.axis("off")
            file = io.BytesIO()
            figure.savefig(file, bbox_inches="tight", pad_inches=0)
            plt.close(figure)
            Image.open(file).convert("L").resize((config.image_width, config.image_height))

    draw_figures()
    measuring.ratio(
        "letters/s of the tarballs, one core / a matplotlib figure each",
        lambda: seconds_of(build, clock=time.process_time) / n,
        lambda: seconds_of(draw_figures, clock=time.process_time) / config.n_classes,
        unit="letters/s",
        goals=(50, 100),
    )


def test_growth(measuring: Measuring, tmp_path: Path, quick: bool, request: Any) -> None:
    sizes = [2600, 26_000] if quick else [2600, 26_000, 260_000]
    if request.config.getoption("--million"):
        sizes.append(1_000_012)
    for step in ("tarball", "records", "loader"):
        for n in sizes:
            folder = tmp_path / str(n)
            folder.mkdir(exist_ok=True)
            words = [sys.executable, "-m", "tests.benchmarks.growth", step, str(folder), str(n)]
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            cost = json.loads(done.stdout.splitlines()[-1])
            cells = {
                "step": step,
                "letters": f"{n:,}",
                "µs per letter": rounded(cost["microseconds"]),
                "peak MB": str(cost["megabytes"]),
                "MB before the first letter": str(cost["megabytes_at_start"]),
            }
            measuring.row("growth", f"{step} {n}", cells)
