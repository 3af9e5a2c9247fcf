"""Edits YAML files as text, so that comments and layout stay."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from letterpress.core.errors import PipelineError

_WIDTH = 100


def add_section(text: str, name: str, values: Mapping[str, Any]) -> str:
    """Adds a section to the text of params.yaml, at its end."""
    lines = [f"{name}:"]
    for key, value in values.items():
        if isinstance(value, list):
            lines.append(flow(f"  {key}:", value))
        else:
            lines.append(f"  {key}: {scalar(value)}")
    return _checked(
        "params.yaml", text, _ended(text) + "\n".join(lines) + "\n", {name: dict(values)}
    )


def add_stages(text: str, stages: str) -> str:
    """Adds stages, indented by two spaces, at the end of the stages in the text of dvc.yaml."""
    added = yaml.safe_load(stages)
    if not re.search(r"^stages:[ ]*(#.*)?$", text, re.MULTILINE):
        return _checked("dvc.yaml", text, f"{_ended(text)}stages:\n{stages}", {"stages": added})
    head, key, body = re.split(r"^(stages:.*\n)", _ended(text), maxsplit=1, flags=re.MULTILINE)
    own = re.match(r"(?:[ \t].*\n|#.*\n|[ \t]*\n)*", body)
    assert own
    indented = re.match(r"\s*?( +)[^\s#]", own[0])
    stages = textwrap.indent(textwrap.dedent(stages), indented[1] if indented else "  ")
    kept = own[0].rstrip("\n") + "\n" if own[0].strip() else ""
    new = f"{head}{key}{kept}{stages}{own[0][len(kept) :]}{body[own.end() :]}"
    return _checked("dvc.yaml", text, new, {"stages": added})


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _checked(path: str, old: str, new: str, added: Mapping[str, Any]) -> str:
    """Returns `new` if it is what `old` says and what was added, and nothing else."""
    expected: dict[str, Any] = _load(path, old)
    for key, value in added.items():
        known = expected.get(key)
        if isinstance(known, dict) and (both := known.keys() & value.keys()):
            raise PipelineError(f"{path}: {min(both)} exists. Choose another name")
        expected[key] = {**known, **value} if isinstance(known, dict) else value
    try:
        if yaml.safe_load(new) == expected:
            return new
    except yaml.YAMLError:
        pass
    raise PipelineError(f"{path}: cannot be edited in this layout. Write it in block style")


def _load(path: str, text: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise PipelineError(f"{path}: not readable as YAML ({reason:.200}). Correct it") from error
    if not isinstance(values, dict):
        raise PipelineError(f"{path}: expected `key: value` lines. Correct it")
    return values


def scalar(value: Any) -> str:
    """Returns a value as YAML, quoted if it must be."""
    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**6)
    text = text.strip()[1:-1]
    # PyYAML writes YAML 1.1, in which 08 and 1e3 are not numbers; DVC reads YAML 1.2.
    is_bare_text = text == value and re.match(r"[-+.\d]", text)
    return "'" + text.replace("'", "''") + "'" if is_bare_text else text


def flow(key: str, values: Iterable[Any]) -> str:
    """Returns `key: [value, value]`, wrapped, the further lines indented more than the key."""
    indent = " " * (len(key) - len(key.lstrip()) + 2)
    lines = [f"{key} ["]
    items = [scalar(value) for value in values]
    for number, item in enumerate(items):
        end = "]" if number == len(items) - 1 else ","
        space = "" if lines[-1].endswith("[") else " "
        if len(lines[-1] + space + item + end) > _WIDTH and lines[-1].strip():
            lines.append(indent)
            space = ""
        lines[-1] += space + item + end
    return "\n".join(lines)
