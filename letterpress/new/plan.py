"""Plans what `letterpress new` writes: the new text of each file."""

import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import yaml

from letterpress.core.errors import PipelineError
from letterpress.new.edit import add_section, add_stages
from letterpress.new.look import Findings

DVC_YAML, PARAMS, README = Path("dvc.yaml"), Path("params.yaml"), Path("README.md")
STAGES = ("write_images", "train_images")
_ROWS = """\
| `write_images` | the images of a pipeline that `letterpress new` made | TFRecord files, one folder per split |
| `train_images` | these TFRecords, perhaps a parent's features | the classifier, its features and metrics |
"""
_WRITE_PARAMS = ("classes", "data_seed", "image_height", "image_width", "invert", "n_channels")

Texts = dict[Path, str]
"""The new text of each file."""


def plan(name: str, params: dict[str, Any], findings: Findings) -> Texts:
    """Returns the texts of the files of this folder that a new pipeline adds or changes.

    Raises:
        PipelineError: a file cannot be edited.
    """
    texts = {path: text for path, text in _new_files().items() if not path.exists()}
    texts[PARAMS] = add_section(_read(PARAMS), name, params)
    texts[DVC_YAML] = add_stages(_read(DVC_YAML), _stages(name, params))
    texts[Path("docs/cards", f"{name}.md")] = _card(name, params, findings)
    readme = _read(README)
    rows = list(re.finditer(r"^\| `\w+` \|.*\n", readme, re.MULTILINE))  # its table of stages
    if rows and Path("stages/write_images.py") in texts:
        texts[README] = readme[: rows[-1].end()] + _ROWS + readme[rows[-1].end() :]
    return texts


def template(name: str) -> str:
    """Returns the text of a file of templates/."""
    return files("letterpress.new").joinpath("templates", name).read_text(encoding="utf-8")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path}: not UTF-8 ({error}). Save it as UTF-8") from error


def _new_files() -> Texts:
    """Returns the files of every project, those of an empty one included."""
    texts = {Path(f"stages/{name}.py"): template(f"{name}.py") for name in STAGES}
    texts[Path("stages/__init__.py")] = '"""One file per stage of dvc.yaml."""\n'
    if not DVC_YAML.exists():
        for name in ("Makefile", ".gitignore", ".dvcignore"):
            texts[Path(name)] = template(name.removeprefix("."))
    return texts


def _stages(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Returns the two stages of a pipeline, as dvc.yaml has them."""
    stages: dict[str, Any] = yaml.safe_load(Template(template("stages.yaml")).substitute(name=name))
    write, train = stages.values()
    train["params"] = [name]  # not in the template: a name such as `no` must be quoted
    shares = [key for key in params if key.endswith("_share")]
    write["params"] = sorted(f"{name}.{key}" for key in (*_WRITE_PARAMS, *shares, "source"))
    write["deps"] = [params["source"], "stages/write_images.py", *_code("core images jobs records")]
    own = [f"${{{name}.architecture}}"] if "architecture" in params else []  # DVC fills it in
    train["deps"] = [
        *filter(None, [params["parent"]]),
        *train["deps"],
        *own,
        "stages/train_images.py",
        *_code("core evaluation images jobs model records training"),
    ]
    return stages


def _code(folders: str) -> list[str]:
    """Returns folders of the library if the project has it; else it is installed."""
    library = Path("letterpress")
    return [f"{library}/{folder}" for folder in folders.split()] if library.is_dir() else []


def _card(name: str, params: dict[str, Any], findings: Findings) -> str:
    cells = {key.replace("|", "\\|"): number for key, number in findings.totals.items()}
    rows = [f"| {key} | {number} |" for key, number in cells.items()]
    given = sorted(findings.splits - {"train"})
    return Template(template("card.md")).substitute(
        name=name,
        source=params["source"],
        n_images=findings.n_images,
        n_classes=len(rows),
        splits=f", with folders for {' and '.join(given)}" if given else "",
        table="\n".join(["| class | images |", "| --- | --- |", *rows]),
        parent=f", starting from `{params['parent']}`" if params["parent"] else "",
    )
