"""Reads params.yaml into typed, validated, immutable objects."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import Self

from stages.mnist.errors import PipelineError

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""No type is converted, no key is ignored: True is no number, "0.1" no float."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's floats (DVC writes 1e-05) and without duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(
                        f"line {line}: {key.value!r} stands there twice; remove one"
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_params(path: Path) -> dict[str, Any]:
    """Reads a YAML file whose root is a mapping.

    Raises:
        PipelineError: the file is missing, not UTF-8, not YAML, has a key twice, or is no mapping.
    """
    try:
        params = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(f"{path}: cannot be read as YAML: {reason}") from error
    if not isinstance(params, dict) or not all(isinstance(key, str) for key in params):
        raise PipelineError(f"{path}: expected keys and values (learning_rate: 0.01), one a line")
    return params


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Params:
    """A section of params.yaml. A subclass declares its keys as fields, their limits as types."""

    section: ClassVar[str]
    """The key of this pipeline's own values in params.yaml."""
    inherits_root: ClassVar[bool] = True
    """Whether a key that the section lacks is taken from the root of params.yaml."""

    @classmethod
    def from_yaml(cls, path: str | Path = "params.yaml") -> Self:
        """Reads and checks this section: the value of a key is the section's, else the root's.

        Raises:
            PipelineError: a key is unknown, missing, of the wrong type or out of range; the
                message is one line that names the file, each such key, and the remedy.
        """
        path = Path(path)
        root = read_params(path)
        own = root.get(cls.section)
        if not isinstance(own, dict):
            raise PipelineError(f"{path}: the section {cls.section}: is missing; add it")
        names = [field.name for field in fields(cls)]
        # A mapping at the root is another pipeline's section, unless it stands for one of our keys.
        shared = {k: v for k, v in root.items() if not isinstance(v, dict) or k in names}
        values: dict[str, Any] = {**(shared if cls.inherits_root else {}), **own}
        try:
            return cls(**values)
        except (ValidationError, TypeError) as error:
            raise PipelineError(f"{path}: {_explain(error, cls.section, own, names)}") from error


def _explain(
    error: ValidationError | TypeError, section: str, own: Mapping[str, Any], names: list[str]
) -> str:
    """Words the problems that pydantic found as one line."""
    if isinstance(error, TypeError):  # a key that is no identifier never reaches the validation
        return f"{section}: {error}"
    problems = []
    for problem in error.errors(include_url=False):
        key = str(problem["loc"][0])
        place = ".".join([section] * (key in own) + [str(part) for part in problem["loc"]])
        if problem["type"] == "missing":
            problems.append(f"{key} is missing: add it to the section {section}: or to the root")
        elif problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            near = difflib.get_close_matches(key, names, n=1)
            remedy = f"did you mean {near[0]}?" if near else "remove it"
            problems.append(f"{place} is not a known key: {remedy}")
        else:
            problems.append(f"{place}: {problem['msg']}, got {reprlib.repr(problem['input'])}")
    return " ".join("; ".join(problems).split())
