"""The commands of docs/artifacts.md work between a repository with remotes and another person's."""

import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Params, copy_project
from tests.pages import read_blocks
from tests.test_pipeline import Repository

URL, PAGE = "https://your.host/letterpress", ROOT / "docs/artifacts.md"
BLOCKS = read_blocks(PAGE)
FEATURES = "data/mnist/features.weights.h5"


def commands(section: str) -> list[str]:
    return [block.text for block in BLOCKS if (block.section, block.language) == (section, "sh")]


def make(shared: Repository, content: bytes) -> None:
    """Writes the inputs and outputs of the stage train_mnist, and commits them as its results."""
    files = ["classifier.weights.h5", "features.weights.h5", "curves/loss.tsv"]
    files += ["tfrecords/train/x", "tfrecords/validation/x"]
    for path in (f"data/mnist/{name}" for name in files):
        (shared.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (shared.folder / path).write_bytes(content + path.encode())
    shared.run("dvc", "commit", "--force", "train_mnist")
    shared.commit("Results")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params) -> Repository:
    """The project with a git and a DVC remote, released as the page shows, then changed."""
    folder = tmp_path_factory.mktemp("shared")
    shared = Repository(folder / "letterpress")
    copy_project(shared.folder, _tiny_params)
    shared.git("init", "--quiet", "--bare", "--initial-branch=main", "../origin.git")
    shared.git("init", "--quiet", "--initial-branch=main")
    shared.git("remote", "add", "origin", str(folder / "origin.git"))
    shared.git("config", "user.name", "t")
    shared.git("config", "user.email", "t@localhost")
    shared.run("dvc", "remote", "add", "--default", "team", str(folder / "remote"))
    make(shared, b"first ")
    (release,) = commands("Release a version")
    shared.run("sh", "-euc", release)
    make(shared, b"second ")
    return shared


def test_the_page_lists_the_artifacts_of_dvc_yaml() -> None:
    names = re.findall(r"^\| `([\w-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["artifacts"]
    assert sorted(names) == sorted(declared)


@pytest.mark.long
def test_the_commands_of_the_page_download_the_released_weights(
    shared: Repository, tmp_path: Path
) -> None:
    other, origin = Repository(tmp_path), f"{shared.folder}/../origin.git"
    other.git("init", "--quiet")
    other.run("dvc", "init", "--quiet")
    for text in commands("Download one"):
        other.run("sh", "-euc", text.replace(URL, origin))
    (python,) = [block.text for block in BLOCKS if block.language == "python"]
    python = python.replace(URL, origin).replace("features.weights", "python.weights")
    commit = other.run("python", "-c", python).strip()
    assert commit == shared.git("rev-parse", "digits-features@v1.0.0^{commit}").strip()
    for name in ("features", "v1", "parent", "python"):
        content = (tmp_path / f"{name}.weights.h5").read_bytes()
        assert content == b"first " + FEATURES.encode(), name
    (tmp_path / "parent.weights.h5").unlink()
    other.run("dvc", "pull")
    assert (tmp_path / "parent.weights.h5").exists()
