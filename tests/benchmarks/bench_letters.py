"""What a letter costs, and whether a million of them cost more each."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stages.ascii_letter import glyphs
from stages.ascii_letter.build_tarball import draw_letters, write_tarball
from stages.ascii_letter.config import AsciiLetterConfig
from tests.benchmarks.conftest import Measuring
from tests.benchmarks.networks import seconds_of
from tests.conftest import ROOT


def test_letters(
    measuring: Measuring, letter_config: AsciiLetterConfig, tmp_path: Path, quick: bool
) -> None:
    plt = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is absent")
    plt.switch_backend("agg")
    from matplotlib.font_manager import FontProperties

    font = FontProperties(fname=str(glyphs.find_typefaces()[0][0].path))
    config = letter_config
    seen, unseen = glyphs.split_families(config.unseen_families)
    n = len(config.class_names) * (config.n_images_per_class + config.n_unseen_per_class)

    def build() -> None:
        glyphs._font.cache_clear()
        glyphs.draw_ink.cache_clear()
        letters = draw_letters(config, seen, config.n_images_per_class)
        write_tarball(tmp_path / "letters.tar", letters)
        letters = draw_letters(config, unseen, config.n_unseen_per_class)
        write_tarball(tmp_path / "unseen.tar", letters)

    def figure(letter: str) -> None:
        """The essay's way: a plain figure, cut out around the letter, then made small."""
        drawn, axes = plt.subplots()
        axes.text(0.5, 0.5, letter, size=100, fontproperties=font)
        axes.axis("off")
        file = io.BytesIO()
        drawn.savefig(file, bbox_inches="tight", pad_inches=0)
        plt.close(drawn)
        Image.open(file).convert("L").resize((config.image_width, config.image_height))

    def figures() -> None:
        for name in config.class_names:
            figure(name)

    figures()
    measuring.ratio(
        "letters/s of the tarballs, one core / a matplotlib figure each",
        lambda: seconds_of(build, clock=time.process_time) / n,
        lambda: seconds_of(figures, clock=time.process_time) / config.n_classes,
        unit="letters/s",
        per_second=1,
        floor=100,
        aim=200,
        rounds=5,
    )


def test_growth(measuring: Measuring, tmp_path: Path, quick: bool, request: Any) -> None:
    sizes = [2600, 26_000] if quick else [2600, 26_000, 260_000]
    if request.config.getoption("--million"):
        sizes.append(1_000_012)
    rows: list[dict[str, Any]] = []

    def grow() -> None:
        for n in sizes:
            folder = tmp_path / str(n)
            folder.mkdir()
            for step in ("tarball", "records", "loader"):
                words = [sys.executable, "-m", "tests.benchmarks.growth", step, str(folder), str(n)]
                done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stderr
                rows.append({"step": step, "letters": n} | json.loads(done.stdout.splitlines()[-1]))
            for file in folder.rglob("*.t*"):
                if file.is_file():
                    file.unlink()

    measuring.seconds(lambda: seconds_of(grow), rounds=1)
    for row in sorted(rows, key=lambda row: ["tarball", "records", "loader"].index(row["step"])):
        measuring.row("growth", **row)
