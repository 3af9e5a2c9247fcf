"""dvc.yaml declares exactly what the code imports, reads and writes."""

import ast
import csv
from collections.abc import Iterable
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from dvc.repo import Repo

from letterpress.core.config import STANDARD
from letterpress.images.config import ImagesConfig
from tests.test_pipeline import Repository, list_sources, list_stages, reproduced

__all__ = ["reproduced"]  # a fixture

PACKAGE_ROOTS = {"letterpress/__init__.py", "stages/__init__.py"}
"""They import nothing that changes an output: public names on demand, one-line error messages."""


class Stage(NamedTuple):
    """A stage as DVC itself understands it."""

    commands: list[str]
    deps: set[str]
    params: set[str]
    outs: dict[str, bool]
    """Whether DVC caches an output, by its path."""
    shown: set[str]
    """The outputs that are the stage's own metrics and plots."""

    @property
    def modules(self) -> list[str]:
        return [command.removeprefix("python -m ").split()[0] for command in self.commands]

    @property
    def files(self) -> set[str]:
        """The files and folders of code among the dependencies; `letterpress/model` has STANDARD."""
        return {d for d in self.deps if d.startswith(("letterpress/", "stages/"))} - {STANDARD}


def load(stage: Any, root: Path) -> Stage:
    assert Path(stage.wdir) == root
    return Stage(
        commands=[stage.cmd] if isinstance(stage.cmd, str) else stage.cmd,
        deps={dep.def_path for dep in stage.deps} - {"params.yaml"},
        params={key for dep in stage.deps for key in getattr(dep, "params", [])},
        outs={out.def_path: out.use_cache for out in stage.outs},
        shown={out.def_path for out in stage.outs if out.metric or out.plot},
    )


@pytest.fixture(scope="module")
def loaded(reproduced: Path) -> dict[str, Stage]:
    with Repo(str(reproduced)) as repo:
        return {s.name: load(s, reproduced) for s in repo.index.stages if hasattr(s, "name")}


@pytest.fixture(scope="module")
def pipeline(reproduced: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((reproduced / "dvc.yaml").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def names(pipeline: dict[str, Any]) -> set[str]:
    """The pipelines of `letterpress new` and those like them, which share their stages' files."""
    return set(ImagesConfig.list_names(pipeline))


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


def imported_files(module: str, root: Path) -> set[str]:
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
    # An __init__.py with nothing but a docstring changes no output.
    found = {f for f in files if f.suffix != ".py" or ast.parse(f.read_text("utf-8")).body[1:]}
    return {f.relative_to(root).as_posix() for f in found} - PACKAGE_ROOTS


def test_stages_and_dvc_yaml_are_one_table_of_contents(
    loaded: dict[str, Stage], names: set[str], reproduced: Path
) -> None:
    assert list(loaded) == list(list_stages(reproduced))
    files = {path.stem: path for path in (reproduced / "stages").rglob("*.py")}
    assert {"__init__"} | {m.split(".")[1] for s in loaded.values() for m in s.modules} == {*files}
    for name, stage in loaded.items():
        verb, _, pipeline = name.partition("_")
        shared = pipeline in names and f"{verb}_images" in files
        words = f"{verb}_images {pipeline}" if shared else name.replace("@", " ")
        assert stage.commands[0] in (f"python -m stages.{name}", f"python -m stages.{words}")
        text = files[stage.modules[0].split(".")[1]].read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 40, name
        assert "\ndef main(" in text, name
    n_lines = len((reproduced / "dvc.yaml").read_text("utf-8").splitlines())
    assert n_lines <= 250 + 25 * len(names)


def test_the_files_are_those_that_the_code_imports(
    loaded: dict[str, Stage], names: set[str], reproduced: Path
) -> None:
    params = yaml.safe_load((reproduced / "params.yaml").read_text(encoding="utf-8"))
    for name, stage in loaded.items():
        used = imported_files(stage.modules[0], reproduced)
        assert len(used) > 5
        if "letterpress/model/network.py" in used:
            section = name.partition("_")[2]
            values = params[section] if section in names else params
            architecture = values.get("architecture")
            assert not architecture or architecture in stage.deps, f"{name}: add {architecture}"
        assert_declared(name, "deps", stage.files, used)


def test_an_edit_retrains_only_if_the_training_runs_that_code(loaded: dict[str, Stage]) -> None:
    folders = ("core", "jobs", "mnist/config.py", "model", "records", "training")
    shared = {f"letterpress/{folder}" for folder in folders}
    assert loaded["train_mnist"].files == shared | {"stages/train_mnist.py"}
    letters = {"letterpress/ascii_letter/config.py", "stages/fine_tune_ascii.py"}
    assert loaded["fine_tune_ascii"].files == shared | letters


def test_the_params_are_those_that_the_code_reads(
    loaded: dict[str, Stage], names: set[str], reproduced: Path
) -> None:
    """The last stage of an image pipeline has its whole section: see the next test."""
    for name, stage in loaded.items():
        used = set((reproduced.parent / "keys" / name).read_text("utf-8").split())
        if names & stage.params:
            used = {key.partition(".")[0] for key in used}
        assert_declared(name, "params", stage.params, used)


def test_each_value_of_params_yaml_is_declared_alone(
    loaded: dict[str, Stage], names: set[str], reproduced: Path
) -> None:
    """If not, -S changes nothing or, with a whole section declared, runs too many stages.

    The last stage of an image pipeline has its whole section: all that an earlier one reads changes
    the data of the last.
    """
    params = yaml.safe_load((reproduced / "params.yaml").read_text(encoding="utf-8"))
    sections = {key: value for key, value in params.items() if isinstance(value, dict)}
    keys = params.keys() - sections.keys()
    keys |= {f"{section}.{key}" for section, values in sections.items() for key in values}
    declared = {key for stage in loaded.values() for key in stage.params}
    assert names <= declared
    assert keys | names == declared | {key for key in keys if key.partition(".")[0] in names}


def test_the_outs_are_what_the_code_writes_and_git_has_what_dvc_does_not_cache(
    loaded: dict[str, Stage], pipeline: dict[str, Any], reproduced: Path
) -> None:
    files = [path for path in (reproduced / "data").rglob("*") if path.is_file()]
    written = {path.relative_to(reproduced).as_posix() for path in files}
    tracked = {path.removesuffix(".dvc") for path in written if path.endswith(".dvc")}
    sources = {*list_sources(reproduced), *tracked, *(f"{path}.dvc" for path in tracked)}
    written = {path for path in written if not is_in(path, sources)}
    cached = {out: is_so for stage in loaded.values() for out, is_so in stage.outs.items()}
    assert len(cached) == sum(len(stage.outs) for stage in loaded.values())
    assert_declared("all stages", "outs", set(cached), written)
    changed = Repository(reproduced).git("show", "--name-only", "--format=", "HEAD").split()
    uncached = [out for out in cached if not cached[out]]
    assert {*changed} == {"dvc.lock"} | {path for path in written if is_in(path, uncached)}
    pictures = [entry for entry in pipeline["plots"] if isinstance(entry, str)]
    shown = {*pipeline["metrics"], *pictures, *dict(plots(pipeline))}
    shown = shown.union(*(stage.shown for stage in loaded.values()))
    assert_declared("metrics and plots", "uncached outs", set(uncached), shown)


def test_plots_show_columns_that_exist(pipeline: dict[str, Any], reproduced: Path) -> None:
    for path, columns in plots(pipeline):
        with (reproduced / path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if path.endswith(".tsv") else ","))
        assert len(rows) > 1, path
        assert all(row[column] for row in rows for column in columns), path


def plots(pipeline: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Returns the file of each curve of the top-level plots, and its columns for x and y."""
    entries = [entry for entry in pipeline["plots"] if isinstance(entry, dict)]
    curves = [plot for entry in entries for plot in entry.values()]
    return [(path, [curve["x"], y]) for curve in curves for path, y in curve["y"].items()]
