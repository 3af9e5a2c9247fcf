"""The command `letterpress new`: what it writes, in this project and in an empty repository."""

import difflib
import re
import shutil
from pathlib import Path

import pytest
import yaml

from letterpress.core.config import STANDARD
from letterpress.core.errors import PipelineError
from letterpress.core.params import read_params
from letterpress.new import command
from letterpress.new.command import new
from letterpress.new.edit import add_stages
from letterpress.new.look import look
from tests.conftest import ROOT, write_digits, write_images
from tests.core.test_files import contents
from tests.pages import follow, read_blocks
from tests.test_pipeline import SECTIONS, Repository, stages_run, write_shapes

DVC = ".dvc/config", ".dvc/.gitignore"
CLASSES = "no", "Sun flower, yellow", "é", "08"  # YAML 1.1 and 1.2 differ about some


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_images(tmp_path / "my data", CLASSES)
    return tmp_path / "my data"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The current folder: the files of this project that the command reads and changes."""
    folder = tmp_path / "clone"
    for name in ("dvc.yaml", "params.yaml", "README.md", ".gitignore", ".dvcignore", *DVC):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("letterpress", "data/mnist"):
        (folder / name).mkdir(parents=True)
    repository = Repository(folder)
    repository.git("init", "--quiet")
    repository.commit("Start")
    monkeypatch.chdir(folder)
    return repository


def files(repository: Repository) -> dict[str, bytes]:
    kept = contents(repository.folder)
    return {
        name: content for name, content in kept.items() if not name.startswith((".git/", ".dvc/"))
    }


def test_a_pipeline_is_added_and_nothing_else_changes(
    clone: Repository, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(clone)
    new("flowers", source, dry_run=True)
    assert files(clone) == before
    shown = capsys.readouterr().out
    assert "24 images of 4 classes (no 6, Sun flower, yellow 6, é 6, 08 6)" in shown
    new("flowers", source)
    after = files(clone)
    for name in ("dvc.yaml", "params.yaml", "README.md"):
        old, lines = (text[name].decode().splitlines() for text in (before, after))
        changes = [line for line in difflib.ndiff(old, lines) if line[0] in "+-"]
        assert not [line for line in changes if line[0] == "-"], name  # comments stay
        assert all(f"+{line[2:]}" in shown for line in changes)
        if name == "dvc.yaml":
            assert 15 < len(changes) <= 30
    assert "train_flowers" in clone.run("dvc", "dag")
    assert "| `train_images` |" in after["README.md"].decode()
    for read in (read_params, lambda path: yaml.safe_load(path.read_text("utf-8"))):
        assert read(Path("params.yaml"))["flowers"]["classes"] == [*CLASSES]
    assert (Path("data/flowers/raw/no/0.png")).exists()
    status = clone.git("status", "--porcelain", "--untracked-files=all").split()[1::2]
    added = ["data/flowers/raw.dvc", "docs/cards/flowers.md"]
    added += [f"stages/{name}.py" for name in ("__init__", "train_images", "write_images")]
    assert sorted(status) == sorted(["README.md", "dvc.yaml", "params.yaml", *added])


def test_nothing_is_overwritten(
    clone: Repository, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clone.folder / "README.md").unlink()  # its picture takes a second
    write_images(tmp_path / "other", ("a", "b"))
    Path("data/taken").mkdir()
    Path("loop").symlink_to("loop")
    new("flowers", source)
    before = files(clone)
    for name, data, reason in (
        ("flowers", tmp_path / "other", "params.yaml: flowers exists, for other data"),
        ("mnist", source, "params.yaml: mnist exists, for other data"),
        ("taken", source, "data/taken: exists. Choose another name"),
        ("typefaces", source, "dvc.yaml: data/typefaces is an output of a stage. Choose another"),
        ("A b", source, "'A b': expected small letters"),
        ("letters", source, "'letters': expected small letters, digits and _, and not digits, "),
        ("none", source, "'none': expected small letters"),
        (
            "keep",
            source,
            "'keep': expected small letters, digits and _, and not digits, letters, none or",
        ),
        ("loop", Path("loop"), "loop: no such file or folder. Check --from"),
        ("odd", Path("${odd}"), "'${odd}': has ${, a control character or is not UTF-8"),
        ("tfrecords", source, "dvc.yaml: write_tfrecords exists"),
        ("all", Path(), ".: this project is in it"),
    ):
        with pytest.raises(PipelineError, match=re.escape(reason)):
            new(name, data)
    with pytest.raises(PipelineError, match=r"Use flowers, mnist, none, or the path"):
        new("shapes", source, "digits")
    assert "already there" not in capsys.readouterr().out
    new("flowers", source)
    assert "already there, nothing changed" in capsys.readouterr().out
    assert files(clone) == before
    Path("data/flowers/raw.dvc").unlink()  # as after a kill before the end
    with pytest.raises(PipelineError, match=r"flowers exists, .* interrupted run\. .* remove the"):
        new("flowers", source)


def test_a_failure_leaves_nothing_behind(
    clone: Repository, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(clone)

    def fail(*_: str) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(command, "_dvc", fail)
        with pytest.raises(OSError, match="disk full"):
            new("flowers", source)
    assert files(clone) == before
    (empty := source.parent / "empty").mkdir()
    monkeypatch.chdir(empty)
    clone.git("init", "--quiet", str(empty))
    Path(".gitignore").write_text("raw.dvc\n", "utf-8")
    with pytest.raises(
        PipelineError, match=r"^dvc add data/flowers/raw: failed \(.* is git-ignored"
    ):
        new("flowers", source)
    assert {
        path.name for path in empty.rglob("*") if ".git" not in path.parts and path.is_file()
    } == {".gitignore"}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("dvc.yaml", b"stages: {old: {cmd: old, outs: 3}}", r"stages: not readable \('int' object"),
        ("dvc.yaml", b"stages: {old: 3}", r"stages: not readable \('int' object"),
        ("params.yaml", b"flowers:", r"flowers exists, for other data or"),
        ("README.md", b"caf\xe9", r"not UTF-8 \(.*Save it as UTF-8"),
    ],
)
def test_files_that_cannot_be_changed_are_named(
    name: str, content: bytes, reason: str, clone: Repository, source: Path
) -> None:
    Path(name).write_bytes(content)
    before = files(clone)
    with pytest.raises(PipelineError, match=f"^{name}: {reason}"):
        new("flowers", source)
    assert files(clone) == before


def test_git_need_not_be_on_the_path(
    clone: Repository,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "")
    new("flowers", source)
    assert capsys.readouterr().out.endswith(
        "\nNow run: dvc repro train_flowers && dvc metrics show\n"
    )


def test_data_in_the_project_are_used_where_they_are(clone: Repository, source: Path) -> None:
    shutil.copytree(source, "photos/of flowers")
    new("flowers", Path("photos/of flowers"), "none")
    values = yaml.safe_load(Path("params.yaml").read_text("utf-8"))["flowers"]
    assert (values["source"], values["parent"]) == ("photos/of flowers", "")
    stages = yaml.safe_load(Path("dvc.yaml").read_text("utf-8"))["stages"]
    assert stages["write_flowers"]["deps"][0] == "photos/of flowers"
    assert stages["train_flowers"]["deps"][0] == "data/flowers/tfrecords"
    assert not Path("data/flowers").exists()


def test_data_in_the_folder_of_the_pipeline_are_used_there_too(
    clone: Repository, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Path(shutil.copytree(source, "data/flowers/raw"))
    new("flowers", place, "none")
    assert "copied" not in capsys.readouterr().out
    before = files(clone)
    new("flowers", place, "none")
    assert "already there, nothing changed" in capsys.readouterr().out
    assert files(clone) == before


def test_a_child_has_the_architecture_of_its_parent(clone: Repository, source: Path) -> None:
    text = Path("params.yaml").read_text("utf-8")
    Path("params.yaml").write_text(text.replace(STANDARD, "own.py"), "utf-8")
    new("flowers", source, "mnist")
    values = yaml.safe_load(Path("params.yaml").read_text("utf-8"))["flowers"]
    assert values["architecture"] == "own.py"
    shutil.copy(ROOT / STANDARD, "own.py")
    assert "own.py" in clone.run("dvc", "status", "train_flowers")
    place = Path(shutil.copytree(source, "photos"))
    new("plants", place, "none")  # its section does not have the architecture of the root
    new("trees", place, "plants")
    values = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    assert "architecture" not in {**values["plants"], **values["trees"]}


@pytest.mark.long
def test_the_page_works_in_an_empty_repository(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    repository = Repository(folder, HOME=str(tmp_path))
    write_shapes(tmp_path / "Downloads/shapes.zip", 30)
    repository.git("init", "--quiet")
    follow(ROOT / "docs/new_pipeline.md", SECTIONS[0], repository)
    metrics = repository.read("data/shapes/metrics.json")
    assert metrics["macro_accuracy"] > 0.6  # chance is a third
    assert metrics["recall"].keys() == {"circle", "cross", "Square"}
    repository.commit("Results")
    assert stages_run(repository.run("dvc", "repro")) == []
    assert repository.git("status", "--porcelain") == ""
    makefile = (folder / "Makefile").read_text(encoding="utf-8")
    assert len(re.findall(r"^\w+:", makefile, re.MULTILINE)) == 4


def test_idx_files_become_image_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_digits(Path("idx"), n_train=40, n_test=20)
    (block,) = (b for b in read_blocks(ROOT / "docs/new_pipeline.md") if b.title == "`convert.py`")
    exec(block.text, {})
    findings = look(Path("images"))
    assert findings.counts == {str(digit): {"train": 4, "test": 2} for digit in range(10)}
    assert findings.sizes[0] == (28, 28, 28)


STAGE = {"new": {"cmd": "new"}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "metrics: [a.json]\n",
        "stages:\n  old:\n    cmd: old",
        "stages:\n    old:\n        cmd: old\n\n# about the metrics\nmetrics:\n- a.json\n",
        "vars: [a.yaml]\nstages:   # all\n  # first\n  old:\n    cmd: |\n      a\n\n      b\nplots:\n",
    ],
)
def test_stages_are_added_to_any_layout(text: str) -> None:
    edited = add_stages(text, STAGE)
    old = yaml.safe_load(text) or {}
    stages = {**old.get("stages", {}), **STAGE}
    assert yaml.safe_load(edited) == {**old, "stages": stages}
    assert {*text.splitlines()} <= {*edited.splitlines()}


def test_a_layout_that_cannot_be_edited_is_refused() -> None:
    for text in ("stages: {old: {cmd: old}}\n", "- a\n", "stages: [\n"):
        with pytest.raises(PipelineError, match=r"^dvc.yaml: "):
            add_stages(text, STAGE)
