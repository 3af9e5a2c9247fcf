"""The whole pipeline as users run it: a real git and DVC repository, the real stages, tiny data."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides
from filelock import FileLock
from PIL import Image, ImageDraw

from letterpress.core.config import STANDARD
from letterpress.core.files import replacing
from tests.conftest import ROOT, Params, copy_project
from tests.core.test_files import contents
from tests.pages import follow, read_blocks

LETTERS = "data/ascii_letter/metrics.json"
CALIBRATION = "data/ascii_letter/calibration.json"


def list_stages(root: Path) -> dict[str, str]:
    """Returns the module and the arguments of each stage, by the name that DVC gives it."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text("utf-8"))["stages"]
    return {
        f"{name}@{key}" if key else name: stage.get("do", stage)["cmd"]
        .removeprefix("python -m ")
        .replace("${item}", key)
        for name, stage in stages.items()
        for key in stage.get("foreach", [""])
    }


STAGES = list_stages(ROOT)
BUILDERS = ["evaluate", "export_web", "fine_tune_ascii", "measure_conditions", "train_mnist"]
BUILDERS += ["transfer_curve"]
"""The stages that build the network."""


def list_sources(root: Path) -> list[str]:
    """Lists the data that no stage makes: those of the pipelines of `letterpress new`."""
    params = yaml.safe_load((root / "params.yaml").read_text("utf-8"))
    found = [values.get("source") for values in params.values() if isinstance(values, dict)]
    return [source for source in found if source]


# Runs at the start of each stage and of its processes. Appends to the file KEYS/STAGE each key of
# params.yaml whose value the stage reads from a config.
KEY_WATCHER = """
import inspect, os, sys
from pathlib import Path
if "DVC_STAGE" in os.environ:
    sys.path.insert(0, "")  # as `python -m` does later
    from letterpress.core.params import Params, read_params
    sys.path.remove("")
    root = read_params(Path("params.yaml"))

    def key_of(config, name):
        if name in root.get(config.section, {}):
            return f"{config.section}.{name}\\n"
        own_default = name in inspect.get_annotations(config)  # wins over the root
        return f"{name}\\n" if config.inherits_root and name in root and not own_default else ""

    def watch(self, name):
        if name in object.__getattribute__(self, "__dict__"):
            with Path(os.environ["KEYS"], os.environ["DVC_STAGE"]).open("a") as file:
                file.write(key_of(type(self), name))
        return object.__getattribute__(self, name)

    Params.__getattribute__ = watch
"""


WHO = "AUTHOR", "COMMITTER"

# Runs stages as `python -m` does, but in one process: importing TensorFlow takes longer than most of
# them. Each line that it reads has the name of a stage, its module and the arguments.
RUN_STAGES = """
import os, runpy, sys
sys.argv[0] = "-m"
import stages
from letterpress.core import watch

for line in sys.stdin:
    os.environ["DVC_STAGE"], module, *sys.argv[1:] = line.split()
    watch._states.clear()
    if "keras" in sys.modules:
        sys.modules["keras"].backend.clear_session()  # weights files contain the numbers of layers
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as stop:
        print("exit", stop.code, file=sys.stderr, flush=True)
"""


class Repository:
    """A git and DVC repository, and the commands that people type in it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": "t@localhost" for who, what in product(WHO, ("NAME", "EMAIL"))},
            **environment,
        }

    def run(self, *command: str | Path, code: int = 0, text: str = "") -> str:
        """Runs a command with a text as its standard input; returns what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            input=text,
            capture_output=True,
            check=False,
        )
        assert done.returncode == code, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def git(self, *words: str) -> str:
        return self.run("git", *words)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def read(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text(encoding="utf-8"))


def stages_run(output: str) -> list[str]:
    return sorted(re.findall(r"Running stage '([^']+)'", output))


SECTIONS = "Images in class folders", "Images that a program makes"
"""Of docs/new_pipeline.md, with a pipeline each."""
SHORTEN = "grep -q 'n_epochs: 40' params.yaml\nsed 's/n_epochs: 40/n_epochs: 2/' params.yaml > new && mv new params.yaml"
FEW_EPOCHS = (
    ("dvc repro train_shapes", f"{SHORTEN}\ndvc repro train_shapes"),
    ("n_epochs: 20", "n_epochs: 2"),
)
"""Changes of that page."""


def write_shapes(path: Path, n_per_class: int) -> None:
    """Writes a zip file of shapes in several formats, sizes and modes, as people pack them."""
    kinds = ("png", "L", 28), ("jpeg", "RGB", 90), ("gif", "P", 40), ("webp", "RGB", 64)
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(n_per_class):
            kind, mode, size = kinds[number % len(kinds)]
            for name in ("Square", "circle", "cross"):
                image, ink = Image.new("L", (size, size)), 255 - number  # no two images are equal
                draw, (low, high) = ImageDraw.Draw(image), (size // 4, size * 3 // 4)
                if name == "cross":
                    draw.line((low, low, high, high), ink, size // 10)
                    draw.line((low, high, high, low), ink, size // 10)
                else:
                    shape = draw.ellipse if name == "circle" else draw.rectangle
                    shape((low, low, high, high), None, ink, size // 10)
                image.convert(mode).save(file := io.BytesIO(), kind)
                archive.writestr(f"my shapes/{name}/{number}.{kind}", file.getvalue())
        archive.writestr("__MACOSX/my shapes/cross/._1.png", b"")


@pytest.fixture(scope="session")
def reproduced(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str, _tiny_params: Params
) -> Path:
    """A repository after `dvc repro` and a commit, to be read only, with the folder `keys` beside it.

    It has the pipelines of docs/new_pipeline.md too. The first of the parallel workers makes it.
    """
    temporary = tmp_path_factory.getbasetemp()
    shared = temporary if worker_id == "master" else temporary.parent
    watcher, keys, made = shared / "watcher", shared / "keys", shared / "with spaces, é"
    with FileLock(shared / "reproduced.lock"):
        if not made.exists():
            watcher.mkdir(exist_ok=True)
            keys.mkdir(exist_ok=True)
            (watcher / "sitecustomize.py").write_text(KEY_WATCHER, encoding="utf-8")
            with replacing(made) as folder:
                copy_project(folder, _tiny_params)
                write_shapes(shared / "Downloads/shapes.zip", 40)
                settings = {"PYTHONPATH": str(watcher), "KEYS": str(keys), "HOME": str(shared)}
                repository = Repository(folder, **settings)
                repository.git("init", "--quiet", "--initial-branch=main")
                repository.commit("Start")
                page = (ROOT / "docs/new_pipeline.md").read_text("utf-8")
                assert all(old in page for old, _ in FEW_EPOCHS)
                for section in SECTIONS:
                    follow(ROOT / "docs/new_pipeline.md", section, repository, *FEW_EPOCHS)
                repository.git("add", "stages", "dvc.yaml", "params.yaml")
                repository.git("commit", "--quiet", "--message", "Code")
                repository.run("dvc", "repro")
                repository.commit("Results")
    return made


@pytest.fixture
def repository(reproduced: Path, tmp_path: Path) -> Repository:
    """A copy of the reproduced repository that a test may change."""
    return Repository(shutil.copytree(reproduced, tmp_path / "repository"))


def status(repository: Repository) -> dict[str, Any]:
    """Returns what `dvc status` prints, by stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository.folder)
        with Repo() as repo:
            found: dict[str, Any] = repo.status()
            return found


def test_a_second_run_has_nothing_to_do(repository: Repository) -> None:
    assert stages_run(repository.run("dvc", "repro")) == []
    assert repository.git("status", "--porcelain") == ""


def test_an_override_changes_the_stages_that_use_it_and_no_other(repository: Repository) -> None:
    params = repository.folder / "params.yaml"
    before = params.read_bytes()
    shutil.copy(repository.folder / STANDARD, repository.folder / "own.py")
    for override, changed in (
        ("learning_rate=1e-5", ["fine_tune_ascii"]),
        ("pretrained_features=false", ["fine_tune_ascii"]),
        ("freeze_features=true", ["fine_tune_ascii"]),
        ("n_epochs=1", ["fine_tune_ascii"]),
        ("mnist.learning_rate=0.001", ["train_mnist"]),
        ("optimizer=adamw", ["fine_tune_ascii", "train_mnist"]),
        ("ascii_letter.off_center=1", ["build_ascii_tarball"]),
        ("transfer.n_steps=3", ["transfer_curve"]),
        ("architecture=own.py", BUILDERS),
    ):
        apply_overrides(params, [override])  # what -S does
        assert sorted(status(repository)) == changed, override
        params.write_bytes(before)


@pytest.mark.long
def test_another_architecture_is_an_experiment_and_its_file_a_dependency(
    repository: Repository,
) -> None:
    blocks = read_blocks(ROOT / "docs/architecture.md")
    path = repository.folder / "residual.py"
    path.write_text(next(b.text for b in blocks if b.title == "`residual.py`"), encoding="utf-8")
    repository.git("add", "residual.py")
    targets = "evaluate", "measure_conditions", "transfer_curve"
    output = repository.run("dvc", "exp", "run", "-S", "architecture=residual.py", *targets)
    assert stages_run(output) == [name for name in BUILDERS if name != "export_web"]
    said = repository.run("dvc", "repro", "--single-item", "export_web", code=255)
    assert "error: features: not a chain of layers (got a Functional)" in said
    assert "train_mnist" not in status(repository)
    path.write_text(path.read_text("utf-8") + "# edited\n", "utf-8")
    assert {"changed deps": {"residual.py": "modified"}} in status(repository)["train_mnist"]


@pytest.mark.long
def test_a_sweep_runs_an_experiment_per_value_on_the_code_that_was_queued(
    repository: Repository,
) -> None:
    """One of the values is the committed one: that experiment has nothing to train."""
    committed = yaml.safe_load((repository.folder / "params.yaml").read_text("utf-8"))
    sweep = ["--queue", "--name", "sweep", "-S", f"learning_rate={committed['learning_rate']},1e-5"]
    queued = repository.run("dvc", "exp", "run", "evaluate", *sweep)
    assert queued.count("Queued experiment") == 2
    code = repository.folder / "letterpress/training/loop.py"
    code.write_text("raise SystemExit('edited after queueing')\n", encoding="utf-8")
    output = repository.run("dvc", "exp", "run", "--run-all")
    assert stages_run(output) == ["evaluate", "fine_tune_ascii"]
    assert repository.git("status", "--porcelain") == " M letterpress/training/loop.py\n"
    repository.git("checkout", "--quiet", ".")
    same, other = (
        json.loads(repository.run("dvc", "metrics", "diff", "HEAD", f"sweep-{i}", "--json"))
        for i in (1, 2)
    )
    assert same == {}
    assert {LETTERS} <= other.keys() <= {LETTERS, CALIBRATION}
    repository.run("dvc", "exp", "apply", "sweep-2")
    assert repository.read(LETTERS)["loss"] == other[LETTERS]["loss"]["new"]
    later = ["export_web", "measure_conditions"]  # the sweep ended with evaluate
    assert sorted(status(repository)) == later


NO_SOCKETS = """
import os, sys
if "DVC_STAGE" in os.environ:
    def refuse(event, arguments):
        if event in ("socket.__new__", "socket.getaddrinfo"):
            raise RuntimeError(f"a stage opens a socket: {event} {arguments}")
    sys.addaudithook(refuse)
"""


@pytest.mark.long
def test_another_run_in_a_fresh_hostile_clone_gives_the_same_bytes(
    reproduced: Path, tmp_path: Path
) -> None:
    """With another locale, time zone and umask, no home, no git, no sockets and no network.

    DVC runs the first stages. The others run in one process: nothing is left of a stage in the next.
    """
    clone, tools = tmp_path / "clone with spaces", tmp_path / "tools"
    Repository(reproduced).git("clone", "--quiet", ".", str(clone))
    kept = {".gitignore", *(path.removeprefix("data/") for path in list_sources(reproduced))}
    kept |= {path.relative_to(clone / "data").as_posix() for path in clone.glob("data/*/*.dvc")}
    for result in contents(clone / "data").keys() - kept:
        (clone / "data" / result).unlink()
    for source in list_sources(reproduced):
        (clone / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(reproduced / source, clone / source)
    tools.mkdir()
    (tools / "sitecustomize.py").write_text(NO_SOCKETS, encoding="utf-8")
    for name in ("python", "dvc", "sh"):
        found = shutil.which(name, path=Repository(clone).environment["PATH"])
        (tools / name).write_text(f'#!/bin/sh\nexec {found} "$@"\n', encoding="utf-8")
        (tools / name).chmod(0o755)
    start = [shutil.which("unshare") or "false", "--net", "/bin/sh", "-c", 'umask 077; exec "$@"']
    if subprocess.run([*start, "sh", "/bin/true"], check=False).returncode:  # not permitted
        start = start[2:]
    hostile = Repository(
        clone,
        HOME="/proc",
        LC_ALL="C",
        PATH=str(tools),
        PYTHONCOERCECLOCALE="0",
        PYTHONPATH=str(tools),
        PYTHONUTF8="0",
        SHELL="/bin/sh",
        TZ="Asia/Kathmandu",
    )
    output = hostile.run(*start, "sh", "dvc", "repro", "--force", "build_ascii_tarball")
    first = stages_run(output)
    assert first == ["build_ascii_tarball", "fetch_typefaces"]
    hostile.environment["DVC_STAGE"] = ""
    commands = list_stages(clone)
    others = "\n".join(f"{name} {commands[name]}" for name in commands if name not in first)
    output = hostile.run(*start, "sh", "python", "-c", RUN_STAGES, text=others)
    assert output.count("exit ") == 0, output
    assert contents(clone / "data") == contents(reproduced / "data")
    assert Repository(clone).git("status", "--porcelain") == ""


def test_dvc_finds_the_data_that_letterpress_new_added(reproduced: Path) -> None:
    with Repo(reproduced) as repo:
        found = {Path(out.fs_path).relative_to(reproduced).as_posix() for out in repo.index.outs}
    assert {str(Path(source).parent) for source in list_sources(reproduced)} <= found


def test_metrics_and_lock_can_be_compared_on_a_clone_without_remote_and_cache(
    reproduced: Path, tmp_path: Path
) -> None:
    work, clone = Repository(tmp_path / "work"), Repository(tmp_path / "clone")
    Repository(reproduced).git("clone", "--quiet", ".", str(work.folder))
    (work.folder / LETTERS).write_text('{"accuracy": 0.5, "loss": 1.0}', encoding="utf-8")
    work.commit("Another result")
    work.git("clone", "--quiet", ".", str(clone.folder))
    diff = json.loads(clone.run("dvc", "metrics", "diff", "HEAD~1", "HEAD", "--json"))
    assert diff[LETTERS]["accuracy"]["new"] == 0.5
    clone.run("dvc", "repro", "--dry", "--allow-missing", code=255)  # the lock is stale
    clone.git("checkout", "--quiet", "HEAD~1")
    clone.run("dvc", "repro", "--dry", "--allow-missing")
