"""dvc.yaml declares exactly what the code imports, reads and writes."""

import csv
from collections.abc import Iterable
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from dvc.repo import Repo

from tests.conftest import ROOT, Params
from tests.test_pipeline import STAGES, Repository, reproduced

__all__ = ["reproduced"]  # a fixture

YAML: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PARAMS: Params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PACKAGE_ROOTS = {"letterpress/__init__.py", "stages/__init__.py"}
"""They import nothing that changes an output: public names on demand, one-line error messages."""


class Stage(NamedTuple):
    """A stage as DVC itself understands it."""

    commands: list[str]
    deps: set[str]
    params: set[str]
    outs: dict[str, bool]
    """Whether DVC caches an output, by its path."""

    @property
    def modules(self) -> list[str]:
        return [command.removeprefix("python -m ").split()[0] for command in self.commands]

    @property
    def files(self) -> set[str]:
        """The files and folders of code among the dependencies."""
        return {dep for dep in self.deps if dep.startswith(("letterpress/", "stages/"))}


def load(stage: Any, root: Path) -> Stage:
    assert Path(stage.wdir) == root
    return Stage(
        commands=[stage.cmd] if isinstance(stage.cmd, str) else stage.cmd,
        deps={dep.def_path for dep in stage.deps} - {"params.yaml"},
        params={key for dep in stage.deps for key in getattr(dep, "params", [])},
        outs={out.def_path: out.use_cache for out in stage.outs},
    )


@pytest.fixture(scope="module")
def loaded() -> dict[str, Stage]:
    with Repo(str(ROOT)) as repo:
        return {s.name: load(s, ROOT) for s in repo.index.stages if hasattr(s, "name")}


def is_in(path: str, entries: Iterable[str]) -> bool:
    """Whether a path is one of the entries, or lies in one that is a folder."""
    return any(path == entry or path.startswith(f"{entry}/") for entry in entries)


def assert_declared(name: str, what: str, declared: set[str], used: set[str]) -> None:
    """Compares what is declared with what is used; a declared folder must hold something used."""
    missing = [f"add {path}" for path in sorted(used) if not is_in(path, declared)]
    unused = [
        f"remove {entry}"
        for entry in sorted(declared)
        if is_in(entry, declared - {entry}) or not any(is_in(path, [entry]) for path in used)
    ]
    assert not missing + unused, f"dvc.yaml: {name}: {what}: {', '.join(missing + unused)}"


def imported_files(module: str, root: Path = ROOT) -> set[str]:
    """The project's files that a module imports, itself included; imports in functions count too.

    Tables beside a module, with its name, belong to it.
    """
    finder = ModuleFinder([str(root)])  # only this project is found: nothing else is read
    finder.import_hook("stages")
    finder.run_script(str(root / f"{module.replace('.', '/')}.py"))
    not_found = {n for n in finder.badmodules if n.startswith(("letterpress.", "stages."))}
    assert not not_found, f"{module}: import these from the module that defines them: {not_found}"
    files = [Path(file) for m in finder.modules.values() if (file := getattr(m, "__file__", None))]
    files += [
        table
        for f in files
        for end in (".csv", ".sha256")
        if (table := f.with_suffix(end)).exists()
    ]
    found = {f.relative_to(root).as_posix() for f in files if f.stat().st_size}
    return found - PACKAGE_ROOTS


def test_stages_and_dvc_yaml_are_one_table_of_contents(loaded: dict[str, Stage]) -> None:
    assert list(loaded) == STAGES
    files = {path.stem: path for path in (ROOT / "stages").rglob("*.py")}
    assert files.keys() == YAML["stages"].keys() | {"__init__"}
    for name, stage in loaded.items():
        assert stage.commands == [f"python -m stages.{name}".replace("@", " ")]
        text = (ROOT / "stages" / f"{name.split('@')[0]}.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 40, name
        assert "\ndef main(" in text, name
    assert len((ROOT / "dvc.yaml").read_text("utf-8").splitlines()) <= 250


@pytest.mark.parametrize("name", STAGES)
def test_the_files_are_those_that_the_code_imports(name: str, loaded: dict[str, Stage]) -> None:
    used = imported_files(loaded[name].modules[0])
    assert len(used) > 5
    assert_declared(name, "deps", loaded[name].files, used)


def test_an_edit_retrains_only_if_the_training_runs_that_code(loaded: dict[str, Stage]) -> None:
    folders = ("core", "jobs", "mnist/config.py", "model", "records", "training")
    shared = {f"letterpress/{folder}" for folder in folders}
    assert loaded["train_mnist"].files == shared | {"stages/train_mnist.py"}
    letters = {"letterpress/ascii_letter/config.py", "stages/fine_tune_ascii.py"}
    assert loaded["fine_tune_ascii"].files == shared | letters


def test_the_params_are_those_that_the_code_reads(
    loaded: dict[str, Stage], reproduced: Path
) -> None:
    for name, stage in loaded.items():
        used = (reproduced.parent / "keys" / name).read_text("utf-8").split()
        assert_declared(name, "params", stage.params, set(used))


def test_each_value_of_params_yaml_is_declared_alone(loaded: dict[str, Stage]) -> None:
    """If not, -S changes nothing or, with a whole section declared, runs too many stages."""
    sections = {key: value for key, value in PARAMS.items() if isinstance(value, dict)}
    keys = PARAMS.keys() - sections.keys()
    keys |= {f"{section}.{key}" for section, values in sections.items() for key in values}
    assert keys == {key for stage in loaded.values() for key in stage.params}


def test_the_outs_are_what_the_code_writes_and_git_has_what_dvc_does_not_cache(
    loaded: dict[str, Stage], reproduced: Path
) -> None:
    files = [path for path in (reproduced / "data").rglob("*") if path.is_file()]
    written = {path.relative_to(reproduced).as_posix() for path in files}
    cached = {out: is_so for stage in loaded.values() for out, is_so in stage.outs.items()}
    assert len(cached) == sum(len(stage.outs) for stage in loaded.values())
    assert_declared("all stages", "outs", set(cached), written)
    changed = Repository(reproduced).git("show", "--name-only", "--format=", "HEAD").split()
    uncached = [out for out in cached if not cached[out]]
    assert {*changed} == {"dvc.lock"} | {path for path in written if is_in(path, uncached)}
    pictures = [entry for entry in YAML["plots"] if isinstance(entry, str)]
    shown = {*YAML["metrics"], *pictures, *dict(plots())}
    assert_declared("metrics and plots", "uncached outs", set(uncached), shown)


def test_plots_show_columns_that_exist(reproduced: Path) -> None:
    for path, columns in plots():
        with (reproduced / path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if path.endswith(".tsv") else ","))
        assert len(rows) > 1, path
        assert all(row[column] for row in rows for column in columns), path


def plots() -> list[tuple[str, list[str]]]:
    """Returns the file of each curve of the top-level plots, and its columns for x and y."""
    curves = [plot for entry in YAML["plots"] if isinstance(entry, dict) for plot in entry.values()]
    return [(path, [curve["x"], y]) for curve in curves for path, y in curve["y"].items()]
