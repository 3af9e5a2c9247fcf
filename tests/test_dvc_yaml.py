"""The contents page is right: dvc.yaml says of each stage what its code says of itself."""

from __future__ import annotations

import csv
import importlib
import json
import math
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import starmap
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import ruamel.yaml
import yaml
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml
from PIL import Image

import stages.mnist.params
from stages.mnist.backend import tf
from stages.mnist.params import read_params
from tests.conftest import ROOT, Params, copy_project, write_params

YAML: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PARAMS: Params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = [
    name if "do" not in stage else f"{name}@{key}"
    for name, stage in YAML["stages"].items()
    for key in (stage["foreach"] if "do" in stage else [name])
]

each_stage = pytest.mark.parametrize("name", STAGES)


def test_dvc_reads_it_in_c() -> None:
    """In Python, where an extra of ruamel.yaml is missing, it takes a tenth of a second more each time."""
    assert ruamel.yaml.YAML(typ="safe").Parser is not ruamel.yaml.parser.Parser


class Stage(NamedTuple):
    """A stage as DVC itself understands it."""

    modules: list[str]
    desc: str | None
    deps: set[str]
    params: set[str]
    outs: dict[str, bool]
    """Whether DVC caches it, by its path."""
    oddities: list[str]
    """What no stage of ours may have: it is run always or never, elsewhere, or keeps old files."""

    @property
    def files(self) -> set[str]:
        return {dep for dep in self.deps if dep.startswith("stages/")}

    @property
    def data(self) -> set[str]:
        return self.deps - self.files


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    copy_project(folder, PARAMS)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def loaded(repository: Path) -> dict[str, Stage]:
    with Repo(str(repository)) as repo:
        return {stage.name: load(stage, repository) for stage in repo.index.stages}


def load(stage: Any, root: Path) -> Stage:
    commands = [stage.cmd] if isinstance(stage.cmd, str) else stage.cmd
    with_params = [dep for dep in stage.deps if hasattr(dep, "params")]
    found = {
        "frozen": stage.frozen,
        "always_changed": stage.always_changed,
        "wdir": Path(stage.wdir) != root,
        "persist": any(out.persist for out in stage.outs),
        "another file of params": any(dep.def_path != "params.yaml" for dep in with_params),
        "metrics or plots that are not at the top": any(o.metric or o.plot for o in stage.outs),
    }
    return Stage(
        modules=[command.removeprefix("python -m ") for command in commands],
        desc=stage.desc,
        deps={dep.def_path for dep in stage.deps} - {"params.yaml"},
        params={key for dep in with_params for key in dep.params},
        outs={out.def_path: out.use_cache for out in stage.outs},
        oddities=[name for name, is_so in found.items() if is_so],
    )


def assert_declared(name: str, what: str, declared: set[str], used: set[str]) -> None:
    """What is declared must be what is used, no more and no less."""
    missing = [f"add {entry}" for entry in sorted(used - declared)]
    unused = [f"remove {entry}" for entry in sorted(declared - used)]
    assert not missing + unused, f"dvc.yaml: {name}: {what}: {', '.join(missing + unused)}"


def imported_files(module: str, root: Path = ROOT) -> set[str]:
    """The files of stages/ that a module imports, directly and through others, and its own."""
    finder = ModuleFinder([str(root)])  # only this project is found: nothing else is read
    finder.run_script(str(root / f"{module.replace('.', '/')}.py"))
    files = [Path(file) for m in finder.modules.values() if (file := getattr(m, "__file__", None))]
    return {f.relative_to(root).as_posix() for f in files if f.name != "__init__.py"}


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_dvc_loads_every_stage(loaded: dict[str, Stage]) -> None:
    assert list(loaded) == STAGES
    assert len(STAGES) >= 7


@each_stage
def test_the_files_are_those_that_the_code_imports(name: str, loaded: dict[str, Stage]) -> None:
    stage = loaded[name]
    used = set.union(*map(imported_files, stage.modules))
    assert len(used) > len(stage.modules)
    assert_declared(name, "deps", stage.files, used)


def test_every_module_with_a_main_is_run_by_one_stage(loaded: dict[str, Stage]) -> None:
    stages_with_main = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "stages").rglob("*.py")
        if path.stem != "predict"  # people run it, on pictures of theirs
        and re.search(r"^def main\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    run = [module for stage in loaded.values() for module in stage.modules]
    assert sorted(run) == sorted(stages_with_main)


@contextmanager
def watching_configs(used: set[str], params: Params) -> Iterator[None]:
    """Adds to `used` each key of params.yaml whose value is read from a config after its checks."""
    base = stages.mnist.params.Params
    original = base.from_yaml.__func__  # type: ignore[attr-defined]
    watched: dict[int, Any] = {}

    def from_yaml(cls: Any, *arguments: Any) -> Any:
        config = original(cls, *arguments)
        watched[id(config)] = config
        return config

    def getattribute(self: Any, name: str) -> Any:
        if watched.get(id(self)) is self and name in object.__getattribute__(self, "__dict__"):
            section = object.__getattribute__(self, "section")
            used.add(f"{section}.{name}" if name in params[section] else name)
        return object.__getattribute__(self, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "from_yaml", classmethod(from_yaml))
        patch.setattr(base, "__getattribute__", getattribute)
        yield


class Run(NamedTuple):
    folder: Path
    used: dict[str, set[str]]
    """The keys of params.yaml that each stage read."""
    made: dict[str, set[str]]
    """The files that each stage made."""


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params, loaded: dict[str, Stage]
) -> Run:
    """All stages, one after the other in this process, on tiny data."""
    folder = tmp_path_factory.mktemp("run")
    write_params(folder, _tiny_params)
    result = Run(folder, {}, {})

    def files() -> set[str]:
        found = (folder / "data").rglob("*")
        return {path.relative_to(folder).as_posix() for path in found if path.is_file()}

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # The trainings of transfer_curve, too; a process that runs already keeps its threads.
        patch.setattr("stages.transfer.curve.local_map", starmap)
        patch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", lambda _: None)
        patch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda _: None)
        for name, stage in loaded.items():
            before = files()
            used = result.used.setdefault(name, set())
            for module in stage.modules:
                with watching_configs(used, _tiny_params):
                    importlib.import_module(module).main()
            result.made[name] = files() - before
    return result


@each_stage
def test_the_params_are_those_that_the_code_reads(
    name: str, loaded: dict[str, Stage], run: Run
) -> None:
    assert run.used[name]
    assert_declared(name, "params", loaded[name].params, run.used[name])


@each_stage
def test_the_outs_are_what_the_code_writes(name: str, loaded: dict[str, Stage], run: Run) -> None:
    outs = loaded[name].outs
    inside = {
        made: next((out for out in outs if made == out or made.startswith(f"{out}/")), made)
        for made in run.made[name]
    }
    assert_declared(name, "outs", set(outs), set(inside.values()))


def test_every_value_of_params_yaml_is_declared_by_a_stage(loaded: dict[str, Stage]) -> None:
    declared = {key for stage in loaded.values() for key in stage.params}
    undeclared = [
        leaf
        for leaf in leaves(PARAMS)
        if not any(leaf == key or leaf.startswith(f"{key}.") for key in declared)
    ]
    assert undeclared == [], "-S on these changes nothing"


def test_no_declared_key_is_a_whole_section(loaded: dict[str, Stage]) -> None:
    mappings = {
        key
        for stage in loaded.values()
        for key in stage.params
        if not any(key == leaf for leaf in leaves(PARAMS))
    }
    assert mappings == set()


def test_params_yaml_is_as_dvc_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    content = (ROOT / "params.yaml").read_bytes()
    path.write_bytes(content)
    with modify_yaml(str(path)) as params:
        params["seed"] += 1
    assert path.read_bytes() != content
    with modify_yaml(str(path)) as params:
        params["seed"] -= 1
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("override", "line", "value"),
    [
        ("learning_rate=0.25", "learning_rate: 0.25", 0.25),
        ("learning_rate=1e-5", "learning_rate: 1e-05", 1e-05),
        ("optimizer=sgd", "optimizer: sgd", "sgd"),
        ("freeze_features=true", "freeze_features: true", True),
        ("mnist.learning_rate=0.25", "  learning_rate: 0.25", 0.25),
        ("ascii_letter.off_center=1.5", "  off_center: 1.5", 1.5),
    ],
)
def test_an_override_changes_one_line_of_params_yaml(
    tmp_path: Path, override: str, line: str, value: Any
) -> None:
    path = tmp_path / "params.yaml"
    content = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path.write_text(content, encoding="utf-8")
    apply_overrides(path, [override])  # what -S does
    before, after = content.splitlines(), path.read_text(encoding="utf-8").splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [line]
    expected: Params = read_params(ROOT / "params.yaml")
    *section, key = override.partition("=")[0].split(".")
    (expected[section[0]] if section else expected)[key] = value
    assert read_params(path) == expected


@each_stage
def test_a_stage_says_what_it_does_and_has_no_oddities(name: str, loaded: dict[str, Stage]) -> None:
    stage = loaded[name]
    assert stage.desc
    assert "\n" not in stage.desc
    assert stage.oddities == []
    assert all(re.fullmatch(r"stages\.\w+\.\w+", module) for module in stage.modules)


@each_stage
def test_the_data_that_a_stage_reads_is_made_by_another_or_added(
    name: str, loaded: dict[str, Stage]
) -> None:
    made = {out for other, stage in loaded.items() if other != name for out in stage.outs}
    made |= {p.relative_to(ROOT).with_suffix("").as_posix() for p in ROOT.glob("data/*/*.dvc")}
    for dep in loaded[name].data:
        assert dep in made or any(parent.as_posix() in made for parent in Path(dep).parents), dep


def test_no_two_stages_make_the_same_file(loaded: dict[str, Stage]) -> None:
    outs = [Path(out) for stage in loaded.values() for out in stage.outs]
    assert len(set(outs)) == len(outs)
    assert not any(one in other.parents for one in outs for other in outs)


def plots() -> list[tuple[str, str, str, str]]:
    """Of each curve of the top-level plots: title, file, the columns of x and y."""
    return [
        (title, path, plot["x"], column)
        for entry in YAML["plots"]
        if isinstance(entry, dict)
        for title, plot in entry.items()
        for path, column in plot["y"].items()
    ]


PICTURES: list[str] = [entry for entry in YAML["plots"] if isinstance(entry, str)]


def test_metrics_plots_and_predictions_are_what_dvc_does_not_cache(
    loaded: dict[str, Stage],
) -> None:
    uncached = {
        out for stage in loaded.values() for out, cached in stage.outs.items() if not cached
    }
    shown = {*YAML["metrics"], *(path for _, path, _, _ in plots()), *PICTURES}
    assert len(shown) >= 12
    for path in shown:
        assert any(out == path or Path(out) in Path(path).parents for out in uncached), path
    for out in uncached:
        assert any(out == path or Path(out) in Path(path).parents for path in shown), out


def test_git_takes_what_dvc_does_not_cache_and_leaves_the_rest(
    loaded: dict[str, Stage], run: Run, repository: Path
) -> None:
    cached = {out: is_so for stage in loaded.values() for out, is_so in stage.outs.items()}
    made = sorted(set.union(*run.made.values()))
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--", *made],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    ignored = set(done.stdout.split("\n")[:-1])
    for path in made:
        out = next(o for o in cached if o == path or Path(o) in Path(path).parents)
        assert (path in ignored) == cached[out], path


RATES = ("accuracy", "accuracy_low", "accuracy_high", "loss")
METRICS = {
    "data/ascii_letter/metrics.json": {
        *RATES,
        *(rate.replace("accuracy", "accuracy_unseen") for rate in RATES[:3]),
        "loss_unseen",
    },
    "data/mistakes/ceiling.json": {"shared", "shared_unseen", "ceiling", "ceiling_unseen"},
    "data/mnist/metrics.json": {*RATES},
    "data/transfer/metrics.json": {
        f"labels_{n_labels}.transfer_gain{bound}"
        for n_labels in (1, 2)  # tiny
        for bound in ("", "_low", "_high")
    },
}


def test_each_metrics_file_is_known() -> None:
    assert sorted(METRICS) == sorted(YAML["metrics"])


@pytest.mark.parametrize("path", METRICS)
def test_a_metrics_file_has_numbers(path: str, run: Run) -> None:
    metrics = json.loads((run.folder / path).read_text(encoding="utf-8"))
    assert set(leaves(metrics)) == METRICS[path]
    flat = [v for m in metrics.values() for v in (m.values() if isinstance(m, dict) else [m])]
    assert all(type(value) in (float, int) and math.isfinite(value) for value in flat)


@pytest.mark.parametrize("path", PICTURES)
def test_a_picture_is_one(path: str, run: Run) -> None:
    with Image.open(run.folder / path) as image:
        assert image.format == "PNG"
        assert len(image.convert("L").getcolors() or []) > 2


@pytest.mark.parametrize(("title", "path", "x", "y"), plots())
def test_a_plot_shows_columns_that_are_there(
    title: str, path: str, x: str, y: str, run: Run
) -> None:
    with (run.folder / path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t" if path.endswith(".tsv") else ","))
    assert len(rows) > 1
    assert all(row[x] and row[y] for row in rows)
