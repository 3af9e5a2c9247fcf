"""The time that a prediction takes, in a process of its own and in one that is already running."""

import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from letterpress import load
from tests.benchmarks.conftest import Measuring, rounded
from tests.benchmarks.networks import seconds_of
from tests.conftest import ROOT


def draw_photograph(path: Path) -> None:
    """Draws a letter on grainy paper: 12 megapixels."""
    paper = Image.new("L", (4000, 3000), 225)
    draw = ImageDraw.Draw(paper)
    draw.text((2000, 1500), "R", 40, ImageFont.load_default(1500), anchor="mm")
    grain = np.random.default_rng(0).normal(0, 8, (3000, 4000))
    pixels = np.clip(np.asarray(paper) + grain, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).convert("RGB").save(path, quality=90)


@pytest.mark.parametrize(
    ("what", "size", "goals"),
    [
        ("a picture of 12 megapixels", None, (120, 60)),
        ("a picture of 28 x 28 pixels", (28, 28), (40, 15)),
    ],
)
def test_picture(
    measuring: Measuring,
    tmp_path: Path,
    what: str,
    size: tuple[int, int] | None,
    goals: tuple[float, float],
) -> None:
    path = tmp_path / "letter.jpg"
    draw_photograph(path)
    if size:
        path = tmp_path / "letter.png"
        Image.open(tmp_path / "letter.jpg").crop((500, 0, 3500, 3000)).resize(size).save(path)
    letters = load("letters", ROOT)
    assert letters.predict(path).guesses[0].name == "r"
    seconds = statistics.median(seconds_of(lambda: letters.predict(path)) for _ in range(20))
    shown = f"{rounded(1000 * seconds)} ms"
    measuring.value(f"{what} predicted, model loaded", 1000 * seconds, shown, goals)


def test_cold_start(measuring: Measuring, tmp_path: Path) -> None:
    path = tmp_path / "letter.jpg"
    draw_photograph(path)
    words = [str(Path(sys.executable).with_name("letterpress")), "predict", "letters", str(path)]

    def predict() -> None:
        subprocess.run(words, cwd=ROOT, check=True, capture_output=True)

    predict()
    seconds = statistics.median(seconds_of(predict) for _ in range(5))
    what = "`letterpress predict letters FILE`, cold"
    measuring.value(what, seconds, f"{rounded(seconds)} s", goals=(1, 0.5))
