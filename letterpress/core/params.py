"""Reads params.yaml into typed, validated, immutable objects."""

import difflib
import inspect
import reprlib
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_snake
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from typing_extensions import Self

from letterpress.core.errors import PipelineError

PARAMS = Path("params.yaml")
first_values: dict[str, Any] = {}
"""The values of params.yaml as this process first read them. `core.watch` compares later ones."""


def read_params(path: Path) -> dict[str, Any]:
    """Reads a YAML file whose root is a mapping, with the YAML library of DVC.

    Raises:
        PipelineError: the file is missing, not UTF-8, not YAML, or not a mapping with unique keys.
    """
    try:
        params = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PipelineError(f"{path}: no such file. Run this in the root of the clone") from error
    except DuplicateKeyError as error:
        place = f"line {error.problem_mark.line + 1}: {textwrap.shorten(error.problem, 100)}"
        raise PipelineError(f"{path}: {place}. Remove one") from error
    except Exception as error:  # ruamel.yaml raises ValueError, KeyError and more for bad scalars
        reason = textwrap.shorten(str(error), 250)
        raise PipelineError(f"{path}: not readable as YAML ({reason}). Correct it") from error
    if not isinstance(params, dict) or not all(isinstance(key, str) for key in params):
        raise PipelineError(f"{path}: expected one `key: value` per line (learning_rate: 0.01)")
    if path == PARAMS:  # a later reading may already see an edit
        first_values.update({key: params[key] for key in params.keys() - first_values.keys()})
    return params


class Params(BaseModel):
    """A section of params.yaml. A subclass declares its keys as fields and their limits as types.

    A subclass needs no decorator. It may give an inherited field another default; the inherited
    type and limits still hold.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )

    section: ClassVar[str]
    """The key of this class in params.yaml; if not given, AsciiLetterConfig gets ascii_letter."""
    inherits_root: ClassVar[bool] = True
    """Whether keys missing from the section are taken from the root of params.yaml."""

    def __new__(cls, /, *_: Any, **__: Any) -> Self:
        if hasattr(cls, "__dataclass_fields__"):
            raise TypeError(f"{cls.__name__}: a config class needs no decorator. Remove @dataclass")
        return super().__new__(cls)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "section" not in vars(cls):
            cls.section = to_snake(cls.__name__.removesuffix("Config"))
        parent = next(base for base in cls.__mro__[1:] if issubclass(base, BaseModel))
        for name, inherited in parent.model_fields.items():
            if name not in cls.model_fields:
                raise TypeError(
                    f"{cls.__name__}.{name}: hides the field {name}. Write `{name}: TYPE = VALUE`"
                )
            if name in inspect.get_annotations(cls):
                # Pydantic drops the inherited limits with the inherited type: check them as well.
                limits: Any = Annotated[inherited.annotation, inherited]
                check = TypeAdapter(limits, config=cls.model_config).validate_python
                cls.model_fields[name].metadata.append(AfterValidator(check))
        cls.model_rebuild(force=True)

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with other values for some fields, validated like any other.

        Raises:
            pydantic.ValidationError: a field is unknown, of the wrong type or out of range.
        """
        return type(self)(**{**dict(self), **changes})

    @classmethod
    def from_yaml(cls, path: str | Path = "params.yaml") -> Self:
        """Reads and checks the values of this class.

        The first of these that has a value for a field wins: the class's section of the file; the
        default in the body of the class itself; the root of the file; an inherited default. A file
        without any section is a flat list of overrides: its values win over all defaults.

        Raises:
            PipelineError: a key is unknown, missing, of the wrong type or out of range. The
                message is one line that names the file, each such key, and the remedy.
        """
        path = Path(path)
        root = read_params(path)
        sections = {key for key, value in root.items() if isinstance(value, dict)}
        sections = (sections | ({cls.section} & root.keys())) - cls.model_fields.keys()
        own = root.get(cls.section) if sections else root
        if not isinstance(own, dict):
            raise PipelineError(f"{path}: the section {cls.section} is missing or empty. Add it")
        values = {str(key): value for key, value in own.items()}
        prefix = f"{cls.section}." if sections else ""
        places = dict.fromkeys(values, prefix)
        if cls.inherits_root:
            stated = inspect.get_annotations(cls).keys() & cls.model_fields.keys()
            shared = root.keys() - sections - stated - values.keys()
            values |= {key: root[key] for key in root if key in shared}
        try:
            return cls(**values)
        except ValidationError as error:
            places = dict.fromkeys(values, "") | places | {"": prefix}
            raise PipelineError(f"{path}: {cls._explain(error, places)}") from error

    @classmethod
    def _explain(cls, error: ValidationError, places: Mapping[str, str]) -> str:
        """Describes the problems in one line; `places` has the prefix of each key."""
        problems = []
        for problem in error.errors(include_url=False):
            parts = [str(part) for part in problem["loc"]]
            key = parts[0] if parts else ""  # a validator of the whole model names no key
            # A key that is not in the file has a bad default in the class.
            place = (places.get(key, f"{cls.__name__}.") + ".".join(parts)).rstrip(".")
            if problem["type"] == "missing":
                problems.append(f"{places['']}{key} is missing. Add it")
            elif problem["type"] == "extra_forbidden":
                near = difflib.get_close_matches(key, cls.model_fields, n=1)
                remedy = f"Did you mean {near[0]}?" if near else "Remove it"
                problems.append(f"{place} is not a known key. {remedy}")
            else:
                message = problem["msg"].removeprefix("Value error, ")
                problems.append(f"{place}: {message} (got {reprlib.repr(problem['input'])})")
        return " ".join("; ".join(problems).split())
