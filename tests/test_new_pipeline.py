"""Follows docs/new_pipeline.md in a real repository: its blocks are written and run as it says."""

import csv
import io
import re
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageDraw

from tests.conftest import ROOT, Params, write_params
from tests.pages import read_blocks
from tests.test_dvc_yaml import assert_declared, imported_files
from tests.test_pipeline import Repository, reproduced

__all__ = ["reproduced"]

BLOCKS = read_blocks(ROOT / "docs/new_pipeline.md")
SECTIONS = {"printed_digit": "Printed digits", "shape": "Images of your own"}
NEW_STAGES = ("draw_printed_digits", "fine_tune_printed_digit", "write_shapes", "fine_tune_shape")


def follow(section: str, repository: Repository) -> None:
    """Runs the shell blocks of a section, and writes the others where their titles say."""
    for block in (block for block in BLOCKS if block.section == section):
        if block.language == "sh":
            repository.run("sh", "-euc", block.text)
            continue
        place = re.fullmatch(r"`([^`]+)`(, at the end|, (under|before) `(.+)`)?", block.title)
        assert place, block.title
        path, how, key = repository.folder / place[1], place[2], place[4]
        assert path.exists() == bool(how)
        text = path.read_text(encoding="utf-8") if how else ""
        at = len(text)
        if key:
            (found,) = re.finditer(rf"^ *{key}\n", text, re.MULTILINE)
            at = found.end() if place[3] == "under" else found.start()
        path.write_text(text[:at] + block.text + text[at:], encoding="utf-8")


def write_shapes(path: Path, n_per_class: int) -> None:
    """Writes a tarball of shapes in several formats, sizes and modes."""
    path.parent.mkdir(parents=True)
    kinds = ("png", "L", 28), ("jpeg", "RGB", 90), ("gif", "P", 40), ("webp", "RGB", 64)
    with tarfile.open(path, "w:gz") as tar:
        for number in range(n_per_class):
            kind, mode, size = kinds[number % len(kinds)]
            for name in ("square", "circle", "cross"):
                image, ink = Image.new("L", (size, size)), 255 - number  # no two images are equal
                draw, (low, high) = ImageDraw.Draw(image), (size // 4, size * 3 // 4)
                if name == "cross":
                    draw.line((low, low, high, high), ink, size // 10)
                    draw.line((low, high, high, low), ink, size // 10)
                else:
                    shape = draw.ellipse if name == "circle" else draw.rectangle
                    shape((low, low, high, high), None, ink, size // 10)
                file = io.BytesIO()
                image.convert(mode).save(file, kind)
                info = tarfile.TarInfo(f"{name}/{number}.{kind}")
                info.size = file.tell()
                tar.addfile(info, io.BytesIO(file.getvalue()))


@pytest.fixture(scope="module")
def grown(
    tmp_path_factory: pytest.TempPathFactory, reproduced: Path, _tiny_params: Params
) -> Repository:
    """A repository of the project after `dvc repro`, with both pipelines of the page."""
    folder = shutil.copytree(reproduced, tmp_path_factory.mktemp("grown") / "repository")
    watcher, keys = (str(reproduced.parent / name) for name in ("watcher", "keys"))
    repository = Repository(folder, PYTHONPATH=watcher, KEYS=keys)
    shutil.copy(ROOT / "pyproject.toml", folder)
    write_params(folder, _tiny_params | {"n_epochs": 12})
    write_shapes(repository.folder / "data/shape/raw/shapes.tar", 57)
    repository.run("dvc", "add", "data/shape/raw")
    for section in SECTIONS.values():
        follow(section, repository)
    return repository


@pytest.mark.parametrize(
    ("child", "classes", "n_images"),
    [("printed_digit", set("0123456789"), 40), ("shape", {"circle", "cross", "square"}, 30)],
)
def test_a_new_pipeline_learns(
    grown: Repository, child: str, classes: set[str], n_images: int
) -> None:
    assert grown.read(f"data/{child}/metrics.json")["accuracy"] > 2 / len(classes)
    path = grown.folder / f"data/{child}/predictions.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert (len(rows), {row["actual"] for row in rows}) == (n_images, classes)
    assert f"data/{child}/metrics.json" in grown.run("dvc", "metrics", "show")


def test_dvc_yaml_lists_what_the_new_stages_use(grown: Repository, reproduced: Path) -> None:
    pipeline = yaml.safe_load((grown.folder / "dvc.yaml").read_text(encoding="utf-8"))
    for name in NEW_STAGES:
        stage = pipeline["stages"][name]
        files = {dep for dep in stage["deps"] if not dep.startswith("data/")}
        assert_declared(name, "deps", files, imported_files(f"stages.{name}", grown.folder))
        read = (reproduced.parent / "keys" / name).read_text(encoding="utf-8").split()
        assert_declared(name, "params", {*stage["params"]}, {*read})
    shown = str(pipeline["plots"])
    for child in SECTIONS:
        for path in (f"{child}/curves/plots/metrics/loss.tsv", f"{child}/predictions.csv"):
            assert f"data/{path}" in shown
            assert (grown.folder / "data" / path).is_file()


def test_the_code_of_the_page_is_short_and_passes_the_linter(grown: Repository) -> None:
    for section in SECTIONS.values():
        python = [b.text for b in BLOCKS if (b.section, b.language) == (section, "python")]
        assert 40 < len("".join(python).splitlines()) <= 60
    grown.run("ruff", "check", "stages", "letterpress")
    grown.run("ruff", "format", "--check", "stages", "letterpress")
