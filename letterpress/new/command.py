"""The command `letterpress new`: from a folder of images to a pipeline."""

import difflib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.config import STANDARD
from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing
from letterpress.core.params import read_params
from letterpress.images.config import ImagesConfig
from letterpress.images.files import open_files
from letterpress.new.look import Findings, look
from letterpress.new.plan import DVC_YAML, PARAMS, Texts, plan
from letterpress.new.section import choose_params
from letterpress.records.tarball import FORBIDDEN

_TAKEN = {"digits", "letters", "none", *AsciiLetterConfig.model_fields, *ImagesConfig.model_fields}
"""Names for `predict` and `--parent` that are not pipelines, and keys of other pipelines."""
_NETWORK = ("architecture", "blocks", "dense_units")
_MNIST = "data/mnist/features.weights.h5"


def new(name: str, source: Path, parent: str | None = None, dry_run: bool = False) -> None:
    """Adds a pipeline for images in class folders to the project in the current folder.

    Data from outside the project are copied to data/NAME/raw and added to DVC. Either everything is
    written or nothing.

    Args:
        name: of the pipeline, its section in params.yaml and its folder in data/.
        source: a folder, a tar file or a zip file; see `letterpress/images/files.py`.
        parent: what to start from: the name of a pipeline, a file of feature weights, or "none".
            None is "mnist" for grey images, if there is that pipeline.
        dry_run: prints what would change, and changes nothing.

    Raises:
        PipelineError: the data cannot be used, or the name is taken by something else.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _TAKEN:
        raise PipelineError(
            f"{name!r}: expected small letters, digits and _, and not digits, letters, none or a key "
            "of params.yaml. Choose another name"
        )
    source = Path(os.path.expanduser(source))  # noqa: PTH111  # ~ that no shell expanded
    place = _place(name, source)
    findings = look(source)
    _describe(source, findings)
    if _exists(name, source, place, findings):
        print(f"{name}: already there, nothing changed")
        return
    features = _find_parent(parent, findings)
    network = _find_network(features)
    params = choose_params(findings, place.as_posix(), features) | network
    texts = plan(name, params, findings)
    _describe_choices(name, params)
    if dry_run:
        sys.stdout.writelines(_diff(texts))
        return
    _apply(name, source, place, texts)
    print(f"wrote {', '.join(map(str, sorted(texts)))}")
    if _is_copy(name, source, place):
        print(f"copied the data to {place}, for DVC")
    print(f"\nNow run: {_next_command(name)}")


def _describe(source: Path, findings: Findings) -> None:
    totals = findings.totals
    shown = [f"{name} {n}" for name, n in list(totals.items())[:12]]
    more = f", and {len(totals) - 12} more" if len(totals) > 12 else ""
    print(
        f"{source}: {findings.n_images} images of {len(totals)} classes ({', '.join(shown)}{more})"
    )
    (w, width, w_), (h, height, h_) = findings.sizes
    kind = "colour" if findings.is_colour else "grey"
    dark = ", dark on light" if findings.is_dark_on_light and not findings.is_colour else ""
    print(f"  sizes: {w} to {w_} x {h} to {h_}, median {width} x {height}; {kind}{dark}")
    if findings.splits != {"train"}:  # what images have that are in no split folder
        print(f"  split folders: {', '.join(sorted(findings.splits))}")
    few = [key for key, splits in findings.counts.items() if splits["train"] < 10]
    if few:
        print(f"  few images (under 10): {', '.join(few[:12])}")
    for reason, n_files in list(findings.left_out.items())[:8]:
        print(f"  left out: {n_files} {'file' if n_files == 1 else 'files'}, {reason}")
    if len(findings.left_out) > 8:
        print(f"  left out: {len(findings.left_out) - 8} more")


def _describe_choices(name: str, params: dict[str, Any]) -> None:
    size = f"{params['image_height']} x {params['image_width']}"
    kind = "RGB" if params["n_channels"] == 3 else "grey"
    print(f"{name}: images of {size}, {kind}, {params['n_epochs']} epochs, from ", end="")
    print(params["parent"] or "random weights")
    if params["mirror"]:
        print("  mirrored in training: set mirror to false if left and right differ")
    if params["invert"]:
        print("  inverted: light on dark, as MNIST is")
    if params["class_weights"] == "balanced":
        print("  class_weights: balanced, as the largest class has over 3 times the smallest")


def _place(name: str, source: Path) -> Path:
    """Returns where the stages read the data: where they are if that is in the project."""
    root, found = Path.cwd().resolve(), Path(os.path.realpath(source))  # which accepts loops
    if root.is_relative_to(found):
        raise PipelineError(f"{source}: this project is in it. Name the folder of the images")
    if found.is_relative_to(root):
        place = found.relative_to(root)
        if FORBIDDEN.search(str(place)) or "${" in str(place):  # DVC would replace ${...}
            raise PipelineError(
                f"{str(place)!r}: has ${{, a control character or is not UTF-8. Rename it"
            )
        return place
    raw = Path("data", name, "raw")
    if source.is_dir():
        return raw
    suffixes = source.suffixes[-2:] if ".tar" in source.suffixes[-2:] else source.suffixes[-1:]
    return raw / (name + "".join(suffixes).lower())


def _is_copy(name: str, source: Path, place: Path) -> bool:
    """Returns whether the data come from outside the project, and are copied to data/NAME/raw."""
    return place.is_relative_to(Path("data", name, "raw")) and source.resolve() != place.resolve()


def _exists(name: str, source: Path, place: Path, findings: Findings) -> bool:
    """Tells whether the same command ran before.

    Raises:
        PipelineError: there is something else of that name.
    """
    params = _values(PARAMS)
    if name not in params:
        if f"data/{name}" in _list_outs():  # DVC refuses a dvc.yaml with an output inside another
            raise PipelineError(
                f"{DVC_YAML}: data/{name} is an output of a stage. Choose another name"
            )
        paths = Path("data", name), Path(f"docs/cards/{name}.md")
        taken = next(filter(Path.exists, paths), None)
        if taken and not (place.is_relative_to(taken) and source.resolve() == place.resolve()):
            raise PipelineError(f"{taken}: exists. Choose another name, or remove it")
        return False
    # A kill after the files were written leaves a section without data.
    is_complete = not _is_copy(name, source, place) or Path("data", name, "raw.dvc").exists()
    section = params[name]
    same = isinstance(section, dict) and section.get("source") == place.as_posix() and is_complete
    if not same or section.get("classes") != list(findings.counts) or _list(source) != _list(place):
        raise PipelineError(
            f"{PARAMS}: {name} exists, for other data or from an interrupted run. Choose another "
            "name, or remove the section, its stages in dvc.yaml and its folder in data/"
        )
    return True


def _list(source: Path) -> list[str] | None:
    if not source.exists():
        return None
    with open_files(source) as files:
        return sorted(n for n, _ in files if source.is_file() or (source / n).is_file())


def _find_parent(parent: str | None, findings: Findings) -> str:
    """Returns the path of the parent's feature weights, or "" without a parent."""
    outs = _list_outs()
    if parent is None:
        return _MNIST if _MNIST in outs and not findings.is_colour else ""
    if parent == "none":
        return ""
    path = f"data/{parent}/features.weights.h5"
    if path in outs:
        return path
    if Path(parent).is_file() and not Path(parent).is_absolute():
        return Path(parent).as_posix()
    known = sorted(out.split("/")[1] for out in outs if out.endswith("/features.weights.h5"))
    raise PipelineError(
        f"--parent: no pipeline with features and no file of this project (got {parent!r}). "
        f"Use {', '.join([*known, 'none'])}, or the path of a .weights.h5 file in the project"
    )


def _find_network(features: str) -> dict[str, Any]:
    """Returns the shape of the parent's network, else of the default one."""
    params = _values(PARAMS) if features else {}
    own = params.get(Path(features).parent.name, {})
    shared = {} if "classes" in own else params  # such a pipeline takes nothing from the root
    default = ImagesConfig.model_fields
    found = {key: own.get(key, shared.get(key, default[key].default)) for key in _NETWORK}
    if found["architecture"] == STANDARD:  # not a file of the project if the library is installed
        del found["architecture"]
    return {key: [*map(list, value)] if key == "blocks" else value for key, value in found.items()}


def _list_outs() -> set[str]:
    """Returns the outputs of all stages of dvc.yaml."""
    stages = _values(DVC_YAML).get("stages") or {}
    try:
        outs = [out for stage in stages.values() for out in stage.get("outs") or []]
        return {path for out in outs for path in ([out] if isinstance(out, str) else out)}
    except (AttributeError, TypeError) as error:
        raise PipelineError(
            f"{DVC_YAML}: stages: not readable ({error}). Correct it: see `dvc stage list`"
        ) from error


def _values(path: Path) -> dict[str, Any]:
    """Reads a YAML file; a missing or empty one has no values."""
    return read_params(path) if path.exists() and path.stat().st_size else {}


def _diff(texts: Texts) -> Iterator[str]:
    for path in sorted(texts):
        old = path.read_text("utf-8").splitlines(True) if path.exists() else []
        label = f"a/{path}" if old else "/dev/null"
        yield from difflib.unified_diff(old, texts[path].splitlines(True), label, f"b/{path}")


def _apply(name: str, source: Path, place: Path, texts: Texts) -> None:
    """Writes all files, copies the data and adds them to DVC; undoes everything after an error."""
    with ExitStack() as undo:
        if not Path(".dvc").exists():
            if not Path(".git").exists():
                raise PipelineError("git: no repository in this folder. Run `git init` first")
            undo.callback(shutil.rmtree, ".dvc", ignore_errors=True)
            if not (ignored := Path(".dvcignore")).exists():  # DVC writes it too
                undo.callback(_restore, ignored, None)
            _dvc("init")
            _dvc("config", "core.analytics", "false")  # else DVC reports each command to its makers
        for path, text in texts.items():
            old = path.read_bytes() if path.exists() else None
            undo.callback(_restore, path, old)
            with replacing(path) as file:
                file.write_text(text, encoding="utf-8")
        raw = Path("data", name, "raw")
        if place.is_relative_to(raw) and not raw.exists():
            undo.callback(shutil.rmtree, raw.parent, ignore_errors=True)
            with replacing(raw) as folder:
                if source.is_dir():
                    shutil.copytree(source, folder, ignore=_list_odd)
                else:
                    folder.mkdir()
                    shutil.copy(source, folder / place.name)
            _dvc("add", raw.as_posix())
        undo.pop_all()  # nothing failed


def _list_odd(folder: str, names: list[str]) -> list[str]:
    """Returns what is not read and so not copied: pipes, broken links, links to folders."""
    paths = [Path(folder, name) for name in names]
    return [p.name for p in paths if not p.is_file() and (p.is_symlink() or not p.is_dir())]


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)


def _dvc(*words: str) -> None:
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())
        raise PipelineError(f"dvc {' '.join(words)}: failed ({reason:.300}). Nothing was changed")


def _next_command(name: str) -> str:
    head = ["git", "rev-parse", "--verify", "HEAD"]
    has_git = shutil.which("git")  # everything is written already: no error now
    is_empty = has_git and subprocess.run(head, capture_output=True, check=False).returncode
    first = "git add --all && git commit -m 'Start' && " if is_empty else ""
    return f"{first}dvc repro train_{name} && dvc metrics show"
