"""The commands of docs/artifacts.md, between a real repository with its remotes and somebody else's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Params, copy_project
from tests.pages import read_blocks
from tests.test_pipeline import Repository

URL = "https://your.host/letterpress"
BLOCKS = read_blocks(ROOT / "docs/artifacts.md")
NAMES = re.findall(
    r"^\| `([\w-]+)` \|", (ROOT / "docs/artifacts.md").read_text("utf-8"), re.MULTILINE
)
FEATURES = "data/mnist/features.weights.h5"


def commands(section: str) -> list[str]:
    return [block.text for block in BLOCKS if (block.section, block.language) == (section, "sh")]


class Shared(Repository):
    """Letterpress, with files of any content in the place of weights, and what it pushes to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "letterpress")
        self.origin, self.remote = folder / "origin.git", folder / "remote"

    def make(self, content: bytes) -> None:
        """Writes what the stage train_mnist reads and makes, and has DVC take it for made."""
        for path in (
            "data/mnist/tfrecords/train/lengths.json",
            "data/mnist/classifier.weights.h5",
            FEATURES,
            "data/mnist/curves/metrics.json",
        ):
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content + path.encode())
        self.run("dvc", "commit", "--force", "train_mnist")
        self.commit("Results")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params) -> Shared:
    """After the release that the page shows, and a commit since, whose weights are others."""
    shared = Shared(tmp_path_factory.mktemp("shared"))
    copy_project(shared.folder, _tiny_params)
    for words in (
        ["init", "--quiet", "--bare", "--initial-branch=main", str(shared.origin)],
        ["init", "--quiet", "--initial-branch=main"],
        ["remote", "add", "origin", str(shared.origin)],
        ["config", "user.name", "t"],
        ["config", "user.email", "t@localhost"],
    ):
        shared.run("git", *words)
    shared.run("dvc", "remote", "add", "--default", "team", str(shared.remote))
    shared.make(b"first ")
    (release,) = commands("Release a version")
    shared.run("sh", "-euc", release)
    shared.make(b"second ")
    return shared


@pytest.fixture
def elsewhere(tmp_path: Path) -> Repository:
    """Somebody's own folder."""
    return Repository(tmp_path)


def get(shared: Shared, elsewhere: Repository, name: str, code: int = 0) -> str:
    command = "dvc", "artifacts", "get", str(shared.origin), name, "--out", "taken"
    return elsewhere.run(*command, code=code)


def test_the_page_names_the_artifacts_that_dvc_yaml_names() -> None:
    assert sorted(NAMES) == sorted(
        yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["artifacts"]
    )


def test_the_commands_of_the_page_take_the_released_weights(
    shared: Shared, elsewhere: Repository
) -> None:
    elsewhere.git("init", "--quiet")
    elsewhere.run("dvc", "init", "--quiet")
    for text in commands("Take one"):
        elsewhere.run("sh", "-euc", text.replace(URL, str(shared.origin)))
    (python,) = [block.text for block in BLOCKS if block.language == "python"]
    python = python.replace(URL, str(shared.origin)).replace("features.weights", "python.weights")
    commit = elsewhere.run("python", "-c", python).strip()
    assert commit == shared.git("rev-parse", "digits-features@v1.0.0^{commit}").strip()
    for name in ("features", "v1", "parent", "python"):
        content = (elsewhere.folder / f"{name}.weights.h5").read_bytes()
        assert content == b"first " + FEATURES.encode(), name
    (elsewhere.folder / "parent.weights.h5").unlink()
    elsewhere.run("dvc", "pull")
    assert (elsewhere.folder / "parent.weights.h5").exists()


def test_the_highest_version_is_taken_not_the_last_and_no_lightweight_tag(
    shared: Shared, elsewhere: Repository
) -> None:
    shared.git("tag", "-a", "-m", "x", "digits-features@v0.10.0")
    shared.git("tag", "digits-features@v2.0.0")
    shared.git("push", "--quiet", "--tags", "origin", "main")
    output = get(shared, elsewhere, "digits-features")
    assert (elsewhere.folder / "taken").read_bytes().startswith(b"first ")
    assert "error" not in output.lower()


def test_what_has_no_version_is_no_artifact(shared: Shared, elsewhere: Repository) -> None:
    output = get(shared, elsewhere, "digits-classifier", code=1)
    assert "No studio config" in output.splitlines()[0]
    assert "Unable to find artifact 'digits-classifier'" in output.splitlines()[1]
    assert not (elsewhere.folder / "taken").exists()
