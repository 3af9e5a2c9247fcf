"""The page on a pipeline of one's own: its blocks are put where it says, and run, in a real repository."""

from __future__ import annotations

import csv
import io
import random
import re
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from PIL import Image, ImageDraw

from tests.conftest import ROOT, Params, write_params
from tests.pages import read_blocks
from tests.test_dvc_yaml import assert_declared, imported_files, load
from tests.test_pipeline import Repository, reproduced  # noqa: F401 (a fixture)

BLOCKS = read_blocks(ROOT / "docs/new_pipeline.md")
DRAWN, OWN = "Printed digits", "Images of your own"


def python_lines(section: str) -> int:
    blocks = [block for block in BLOCKS if (block.section, block.language) == (section, "python")]
    return sum(len(block.text.splitlines()) for block in blocks)


def follow(section: str, repository: Repository) -> None:
    """Does what a section says, in its order."""
    for block in BLOCKS:
        if block.section != section:
            continue
        if block.language == "sh":
            repository.run("sh", "-euc", block.text)
            continue
        place = re.fullmatch(r"`([^`]+)`(, at the end|, (under|before) `(.+)`)?", block.title)
        assert place, block.title
        path, how, key = repository.folder / place[1], place[2], place[4]
        path.parent.mkdir(exist_ok=True)
        if how is None:
            assert not path.exists()
            path.write_text(block.text, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        if key:
            (found,) = re.finditer(rf"^ *{key}\n", text, re.MULTILINE)
            at = found.end() if place[3] == "under" else found.start()
            text = text[:at] + block.text + text[at:]
        else:
            text += block.text
        path.write_text(text, encoding="utf-8")


def write_shapes(path: Path, n_per_class: int) -> None:
    """Writes a tarball of shapes in several formats, sizes and modes."""
    place = random.Random(1).randint
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as tar:  # whatever it is called
        for number in range(n_per_class):
            for name in ("square", "circle", "cross"):
                kind, mode, size = (
                    ("png", "L", (28, 28)),
                    ("jpeg", "RGB", (90, 60)),
                    ("gif", "P", (40, 70)),
                    ("webp", "RGB", (64, 64)),
                )[number % 4]
                image = Image.new("L", size)
                x, y, r = size[0] // 2 + place(-4, 4), size[1] // 2 + place(-4, 4), min(size) // 4
                draw, ink = ImageDraw.Draw(image), 255 - number  # no two are the same image
                if name == "cross":
                    draw.line((x - r, y, x + r, y), ink, r // 3)
                    draw.line((x, y - r, x, y + r), ink, r // 3)
                else:
                    shape = draw.ellipse if name == "circle" else draw.rectangle
                    shape((x - r, y - r, x + r, y + r), None, ink, r // 3)
                file = io.BytesIO()
                image.convert(mode).save(file, kind)
                info = tarfile.TarInfo(f"{name}/{number}.{kind}")
                info.size = file.tell()
                file.seek(0)
                tar.addfile(info, file)


@pytest.fixture(scope="module")
def grown(
    tmp_path_factory: pytest.TempPathFactory,
    reproduced: Path,  # noqa: F811 (that fixture)
    _tiny_params: Params,
) -> Repository:
    """A repository of the project, made already, with both pipelines of the page and their metrics."""
    folder = tmp_path_factory.mktemp("grown") / "repository"
    repository = Repository(shutil.copytree(reproduced, folder))
    shutil.copy(ROOT / "pyproject.toml", folder)
    write_params(folder, _tiny_params | {"n_epochs": 12})
    follow(DRAWN, repository)
    write_shapes(repository.folder / "data/shape/raw/shapes.tar", 52)
    repository.run("dvc", "add", "data/shape/raw")
    repository.git("add", "data/shape/raw.dvc")
    follow(OWN, repository)
    return repository


def test_the_drawn_child_takes_no_more_than_60_lines_of_python() -> None:
    assert 40 < python_lines(DRAWN) <= 60
    assert 40 < python_lines(OWN) <= 60


@pytest.mark.parametrize(
    ("child", "classes", "n_images"),
    [("printed_digit", set("0123456789"), 140), ("shape", {"circle", "cross", "square"}, 30)],
)
def test_both_learn(grown: Repository, child: str, classes: set[str], n_images: int) -> None:
    metrics = grown.read(f"data/{child}/metrics.json")
    assert metrics["accuracy"] > 2 / len(classes)
    path = grown.folder / f"data/{child}/predictions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == n_images
    assert {row["actual"] for row in rows} == classes


def test_dvc_shows_the_metrics_of_both(grown: Repository) -> None:
    shown = grown.run("dvc", "metrics", "show")
    assert "data/printed_digit/metrics.json" in shown
    assert "data/shape/metrics.json" in shown


def test_dvc_yaml_names_exactly_the_files_that_the_new_stages_import(grown: Repository) -> None:
    with Repo(str(grown.folder)) as repo:
        loaded = {s.name: load(s, grown.folder) for s in repo.index.stages if hasattr(s, "name")}
    new = [name for name in loaded if name.endswith(("printed_digits", "printed_digit", "shape"))]
    assert len(new) == 4
    for name in new:
        used = set.union(*(imported_files(m, grown.folder) for m in loaded[name].modules))
        assert_declared(name, "deps", loaded[name].files, used)


@pytest.mark.parametrize("child", ["printed_digit", "shape"])
def test_the_new_stages_use_the_params_that_the_letters_use(grown: Repository, child: str) -> None:
    declared = yaml.safe_load((grown.folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    letters = {
        p.replace("ascii_letter.", f"{child}.") for p in declared["fine_tune_ascii"]["params"]
    }
    name = f"fine_tune_{child}"
    assert_declared(name, "params", set(declared[name]["params"]), letters)


def test_the_code_of_the_page_is_as_the_project_wants_it(grown: Repository) -> None:
    grown.run("ruff", "check", "stages")
    grown.run("ruff", "format", "--check", "stages")
