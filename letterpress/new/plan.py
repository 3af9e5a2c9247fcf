"""Plans what `letterpress new` writes: the new text of each file."""

import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from letterpress.new.edit import add_section, add_stages, flow
from letterpress.new.look import Findings

DVC_YAML, PARAMS, README = Path("dvc.yaml"), Path("params.yaml"), Path("README.md")
STAGES = ("write_images", "train_images")
_ROWS = """\
| `write_images` | the images of a pipeline that `letterpress new` made | TFRecord files, one folder per split |
| `train_images` | these TFRecords, perhaps a parent's features | the classifier, its features and metrics |
"""
_WRITE_PARAMS = ("classes", "data_seed", "image_height", "image_width", "invert", "n_channels")
_LIBRARY = ("core", "images", "jobs", "records")

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
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _new_files() -> Texts:
    """Returns the files of every project, those of an empty one included."""
    texts = {Path(f"stages/{name}.py"): template(f"{name}.py") for name in STAGES}
    texts[Path("stages/__init__.py")] = '"""One file per stage of dvc.yaml."""\n'
    if not DVC_YAML.exists():
        for name in ("Makefile", ".gitignore", ".dvcignore"):
            texts[Path(name)] = template(name.removeprefix("."))
    return texts


def _stages(name: str, params: dict[str, Any]) -> str:
    """Returns the two stages of a pipeline, as dvc.yaml has them."""
    library = Path("letterpress").is_dir()  # else it is installed

    def deps(data: list[str], stage: str, *folders: str) -> str:
        code = [f"letterpress/{folder}" for folder in sorted((*_LIBRARY, *folders)) if library]
        return flow("    deps:", [*data, f"stages/{stage}.py", *code])

    parent = [params["parent"]] if params["parent"] else []
    own = [f"${{{name}.architecture}}"] if "architecture" in params else []
    shares = [key for key in params if key.endswith("_share")]
    keys = sorted(f"{name}.{key}" for key in (*_WRITE_PARAMS, *shares, "source"))
    return Template(template("stages.yaml")).substitute(
        name=name,
        write_deps=deps([params["source"]], "write_images"),
        write_params=flow("    params:", keys),
        train_deps=deps(
            [*parent, f"data/{name}/tfrecords", *own],
            "train_images",
            "evaluation",
            "model",
            "training",
        ),
    )


def _card(name: str, params: dict[str, Any], findings: Findings) -> str:
    rows = [f"| {_cell(key)} | {number} |" for key, number in findings.totals.items()]
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


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
