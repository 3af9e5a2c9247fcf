"""How params.yaml becomes a config object: the YAML, the precedence of values, and the errors."""

import dataclasses
import pickle
import random
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from annotated_types import Ge, Le
from dvc.utils.serialize import ParseError, parse_yaml
from pydantic import AfterValidator, ValidationError

from letterpress.core.errors import PipelineError
from letterpress.core.params import Params, read_params
from letterpress.mnist.config import MnistConfig


class Press(Params):
    section: ClassVar[str] = "press"
    speed: Annotated[float, Ge(0), Le(10)] = 1.0
    copies: Annotated[int, Ge(1)] = 1
    glossy: bool = False
    ink: Literal["black", "red"] = "black"


class ColdPress(Press):
    copies: int = 2


class IcePress(ColdPress):
    speed: float = 0.5


class BarePress(Params):
    inherits_root: ClassVar[bool] = False
    copies: int


def even(number: int) -> int:
    if number % 2:
        raise ValueError("Input should be even")
    return number


class OddPress(Params):
    copies: Annotated[int, AfterValidator(even)] = 3


def complaint(config_class: type[Params], path: Path) -> str:
    """Returns why a params.yaml is refused: one line, without the path that it starts with."""
    with pytest.raises(PipelineError) as refused:
        config_class.from_yaml(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


NOT_A_SPEED = ("true", "'1e-05'", "[0.5]", "{a: 1}", "null", ".nan", "-.inf", "1e400", "10.1")
CASES: list[tuple[type[Params], str, dict[str, Any] | str]] = [
    # The section wins over the root, and the root over an inherited default.
    (Press, "copies: 7\npress: {copies: 9}", {"copies": 9}),
    (ColdPress, "copies: 7\ncold_press: {copies: 9}", {"copies": 9}),
    (ColdPress, "speed: 0\ncold_press: {glossy: true}", {"speed": 0, "copies": 2, "glossy": True}),
    (IcePress, "copies: 7\nice_press: {ink: red}", {"copies": 7, "speed": 0.5, "ink": "red"}),
    (IcePress, "ice_press: {ink: red}", {"copies": 2, "speed": 0.5, "glossy": False}),
    # A default in the body of the class itself wins over the root.
    (ColdPress, "copies: 7\ncold_press: {ink: red}", {"copies": 2, "ink": "red"}),
    (IcePress, "speed: 7\nice_press: {ink: red}", {"speed": 0.5}),
    # In a file without any section, all values win.
    (ColdPress, "copies: 7\nspeed: 8", {"copies": 7, "speed": 8, "ink": "black"}),
    (IcePress, "speed: 8", {"copies": 2, "speed": 8}),
    # Other sections are not read; the root is not read if the class says so.
    (Press, "press: {copies: 9}\nscanner: {copies: many}", {"copies": 9}),
    (BarePress, "noise: 1\nbare_press: {copies: 9}", {"copies": 9}),
    (BarePress, "copies: 7\nbare_press: {}", "bare_press.copies is missing. Add it"),
    (BarePress, "{}", "copies is missing. Add it"),
    # Nothing is ignored.
    (Press, "press: {copys: 4}", "press.copys is not a known key. Did you mean copies?"),
    (Press, "speeed: 4\npress: {}", "speeed is not a known key. Did you mean speed?"),
    (Press, "section: other\npress: {}", "section is not a known key"),
    (Press, "volume: 4", "volume is not a known key. Remove it"),
    (Press, 'press: {3: 4, "a\\nb": 6}', "press.3 is not a known key. Remove it; press.a b is"),
    (Press, "press: {cls: 4}", "press.cls is not a known key"),
    (MnistConfig, "mnist: {blocks: &b [*b]}", "mnist.blocks.0.0: Input should be a valid integer"),
    (Press, "copies: 7\nscanner: {speed: 1}", "the section press is missing or empty. Add it"),
    (Press, "press: [copies]", "the section press is missing or empty. Add it"),
    # The place of a bad value is the section, the root or the class.
    (Press, "press: {speed: 11}", "press.speed: Input should be less than or equal to 10 (got 11)"),
    (Press, f"press: {{ink: {'x' * 999}, speed: -1}}", "press.speed: Input should be greater than"),
    (ColdPress, "ink: blue\ncold_press: {}", "ink: Input should be 'black' or 'red' (got 'blue')"),
    (OddPress, "copies: 5", "copies: Input should be even (got 5)"),
    (OddPress, "odd_press: {}", "OddPress.copies: Input should be even (got 3)"),
    # Types are not converted, but an int is a float (speed: 7 above).
    *((Press, f"press: {{speed: {value}}}", "press.speed: ") for value in NOT_A_SPEED),
    (Press, "press: {copies: true}", "press.copies: Input should be a valid integer"),
    (Press, "press: {glossy: yes}", "press.glossy: Input should be a valid boolean"),
]


def test_which_value_wins_and_which_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    for config_class, text, expected in CASES:
        path.write_text(text)
        if isinstance(expected, str):
            assert complaint(config_class, path).startswith(expected), text
        else:
            config = config_class.from_yaml()
            assert config == config_class(**{**dict(config), **expected}), text


def test_a_config_is_immutable_and_its_copies_are_validated() -> None:
    press = Press(speed=1, copies=3)
    assert pickle.loads(pickle.dumps(press)) == press.replace() == press
    assert press.replace(ink="red") == Press(speed=1, copies=3, ink="red")
    with pytest.raises(ValidationError, match="frozen"):
        press.copies = 4
    for changes in ({"copies": 0}, {"volume": 4}):
        with pytest.raises(ValidationError):
            press.replace(**changes)


def test_a_subclass_needs_no_decorator_as_in_the_essay() -> None:
    class AsciiLetterConfig(MnistConfig):
        n_classes: int = 26
        image_height: int = 32

    assert AsciiLetterConfig() == AsciiLetterConfig(n_classes=26, image_height=32)
    assert AsciiLetterConfig().image_shape == (32, 28, 1)
    decorated = dataclasses.dataclass(AsciiLetterConfig)
    for refused in (decorated, type("Child", (decorated,), {})):
        with pytest.raises(TypeError, match=f"{refused.__name__}: .* Remove @dataclass"):
            refused()


def test_a_field_keeps_its_type_and_limits_in_all_subclasses() -> None:
    class Child(Press):
        copies: int = 7
        ink: str = "red"  # type: ignore[assignment]
        speed: Annotated[float, Le(5)] = 4

    class Grandchild(Child):
        copies: Annotated[int, Le(50)] = 8
        speed: float = 3

    press = Grandchild()
    assert (press.copies, press.speed, press.ink) == (8, 3, "red")
    refused = {"copies": (0, 51, True, 2.0), "speed": (-1, 5.1, True), "ink": ("blue", 1)}
    for key, values in refused.items():
        for value in values:
            with pytest.raises(ValidationError, match=key):
                print(press.replace(**{key: value}))  # shown if it is accepted
    assert Child(copies=51).copies == 51
    with pytest.raises(ValidationError, match="copies"):
        type("Bad", (Press,), {"__annotations__": {"copies": int}, "copies": 0})()


def test_what_hides_a_field_is_refused() -> None:
    for value in ({}, {"copies": 3}):
        hiding = {"__annotations__": {"copies": ClassVar[int]}, **value}
        with pytest.raises(TypeError, match=r"Hiding\.copies: .*`copies: TYPE = VALUE`"):
            type("Hiding", (Press,), hiding)


def test_a_section_is_named_after_its_class() -> None:
    names = {"AsciiLetterConfig": "ascii_letter", "MnistConfig": "mnist", "MNISTConfig": "mnist"}
    names |= {"FetchMnistConfig": "fetch_mnist", "EMNISTLetters2": "emnist_letters_2"}
    for name, section in names.items():
        assert type(name, (Params,), {}).section == section  # type: ignore[attr-defined]


SCALARS = {"012345": 12345, "0o17": 15, "yes": "yes", "1e-05": 1e-05, "1:30": "1:30", "~": None}


def test_scalars_are_read_as_dvc_reads_them(path: Path) -> None:
    draw = random.Random(0)
    pieces = [*"0123456789_+-.:eExob~", ".nan", ".inf", "yes", "No", "true", "null"]
    values = {}
    for scalar in [*SCALARS, *("".join(draw.choices(pieces, k=1 + i % 5)) for i in range(3000))]:
        with suppress(ParseError, ValueError):
            values[scalar] = parse_yaml(f"a: {scalar}", path)["a"]
    assert values.items() >= SCALARS.items()
    assert len(values) > 2000
    path.write_text("".join(f"k{i}: {scalar}\n" for i, scalar in enumerate(values)))
    assert repr([*read_params(path).values()]) == repr([*values.values()])  # NaN equals NaN


BAD_FILES = {
    b"# a comment": "expected one `key: value` per line",
    b"1: 2": "expected one `key: value` per line",
    b"a: [1": "not readable as YAML",
    b"a: 1\n---\nb: 2": "not readable as YAML",
    b"a: !!bool maybe": "not readable as YAML",
    b"a: !!python/object/apply:os.getcwd []": "not readable as YAML",
    b"a: " + b"1" * 5000: "not readable as YAML",
    b"a: \xff": "not readable as YAML",
    b"a: 2026-13-40": "not readable as YAML (month must be in 1..12). Correct it",
    b"b:\n  a: 1\n  a: 2": 'line 3: found duplicate key "a"',
    b"b:\n  1: 2\n  01: 3": 'line 3: found duplicate key "1"',
    b"a: &a {c: 1}\nb:\n  <<: *a\n  <<: *a": 'line 4: found duplicate merge key "<<". Remove one',
}


def test_a_file_that_is_not_a_mapping_of_unique_keys_is_refused(path: Path) -> None:
    assert complaint(Press, path) == "no such file. Run this in the root of the clone"
    for content, reason in BAD_FILES.items():
        path.write_bytes(content)
        assert complaint(Press, path).startswith(reason), content
