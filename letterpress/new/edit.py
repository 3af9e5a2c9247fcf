"""Adds values to YAML files as text, so that comments and layout stay."""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

from letterpress.core.errors import PipelineError

_WIDTH = 90  # PyYAML begins a new line only after the value that crosses it


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 (PyYAML) or YAML 1.2 (DVC) reads as a number, such as 08 and 1e3."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+.\d]"), [*"-+.0123456789"])


def add_section(text: str, name: str, values: Mapping[str, Any]) -> str:
    """Adds a section to the text of params.yaml, at its end.

    Raises:
        PipelineError: the text is not readable as YAML.
    """
    added = {name: dict(values)}
    expected = _load("params.yaml", text) | added
    return _checked("params.yaml", _ended(text) + _dump(added), expected)


def add_stages(text: str, stages: Mapping[str, Any]) -> str:
    """Adds stages to the text of dvc.yaml, below its other stages and indented as they are.

    Raises:
        PipelineError: the text is not readable as YAML, its stages are in flow style ({...}), or it
            has a stage of the same name.
    """
    old = _load("dvc.yaml", text)
    known = old.get("stages") or {}
    if taken := known.keys() & stages.keys():
        raise PipelineError(f"dvc.yaml: {min(taken)} exists. Choose another name")
    expected = {**old, "stages": {**known, **stages}}
    if "stages" not in old:
        return _checked("dvc.yaml", _ended(text) + _dump({"stages": dict(stages)}), expected)
    root: Any = yaml.compose(text)
    node = next(value for key, value in root.value if key.value == "stages")
    # A block ends where the next key starts; the blank lines above that key stay there.
    above = text[: node.end_mark.index].rstrip()
    added = textwrap.indent(_dump(dict(stages)), " " * node.start_mark.column)
    return _checked("dvc.yaml", f"{above}\n{added}{text[len(above) + 1 :]}", expected)


def _dump(values: dict[str, Any]) -> str:
    """Returns values as YAML: innermost lists and mappings in one line, wrapped if it is long."""
    return yaml.dump(
        values,
        Dumper=_Dumper,
        default_flow_style=None,
        allow_unicode=True,
        width=_WIDTH,
        sort_keys=False,
    )


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _checked(path: str, text: str, expected: Mapping[str, Any]) -> str:
    """Returns the text if it has exactly these values: no edit of a text can be trusted."""
    try:
        if yaml.safe_load(text) == expected:
            return text
    except yaml.YAMLError:
        pass
    raise PipelineError(f"{path}: cannot be edited in this layout. Write it in block style")


def _load(path: str, text: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        reason = textwrap.shorten(str(error), 200)
        raise PipelineError(f"{path}: not readable as YAML ({reason}). Correct it") from error
    if not isinstance(values, dict):
        raise PipelineError(f"{path}: expected `key: value` lines. Correct it")
    return values
