"""What the README shows is what the project has."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.metrics import table

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_results_are_those_of_the_metric_files() -> None:
    assert "\n".join(table(ROOT / "data")) in README


def test_the_picture_of_the_pipeline_is_what_dvc_draws() -> None:
    command = [sys.executable, "-m", "dvc", "dag", "--md"]
    drawn = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert drawn.strip() in README


def test_every_stage_is_told() -> None:
    stages = re.findall(
        r"^  (\w+):$", (ROOT / "dvc.yaml").read_text(encoding="utf-8"), re.MULTILINE
    )
    for stage in stages:
        assert f"`{stage}" in README, stage


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", README))
def test_what_is_linked_to_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)\b", README))))
def test_a_make_target_that_is_named_is_there(target: str) -> None:
    makefile = Path(ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
