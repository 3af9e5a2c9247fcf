"""How params.yaml is read: the file, the sections and the root, and what is said of a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from annotated_types import Ge, Le
from dvc.utils.serialize import modify_yaml
from pydantic.dataclasses import dataclass

from stages.mnist.errors import PipelineError
from stages.mnist.params import STRICT, Params, read_params


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Press(Params):
    section: ClassVar[str] = "press"

    speed: Annotated[float, Ge(0), Le(10)]
    copies: Annotated[int, Ge(1)]
    glossy: bool
    ink: Literal["black", "red"]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class ColdPress(Press):
    inherits_root: ClassVar[bool] = False


GOOD = {"speed": "0.5", "copies": "3", "glossy": "true", "ink": "red"}
SECTION = "press:\n  speed: 0.5\n  copies: 3\n  glossy: true\n  ink: red\n"


def complaint(config_class: type[Params], path: Path) -> str:
    """What is said of a params.yaml that is refused, in one line that begins with its path."""
    with pytest.raises(PipelineError) as refused:
        config_class.from_yaml(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def write_section(path: Path, **values: str) -> None:
    path.write_text("press:\n" + "".join(f"  {k}: {v}\n" for k, v in (GOOD | values).items()))


def test_a_section_becomes_an_object_with_its_values(path: Path) -> None:
    path.write_text(SECTION)
    assert Press.from_yaml(path) == Press(speed=0.5, copies=3, glossy=True, ink="red")


def test_params_yaml_of_the_current_folder_is_read_unless_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(SECTION)
    monkeypatch.chdir(path.parent)
    assert Press.from_yaml() == Press.from_yaml(str(path))


def test_a_key_that_the_section_lacks_is_taken_from_the_root(path: Path) -> None:
    path.write_text("ink: black\npress:\n  speed: 0.5\n  copies: 3\n  glossy: true\n")
    assert Press.from_yaml(path).ink == "black"


def test_the_value_of_the_section_wins_over_the_root(path: Path) -> None:
    path.write_text("ink: black\ncopies: 0\n" + SECTION)
    assert Press.from_yaml(path) == Press(speed=0.5, copies=3, glossy=True, ink="red")


def test_another_pipelines_section_is_left_alone(path: Path) -> None:
    path.write_text(SECTION + "scanner:\n  speed: fast\n")
    assert Press.from_yaml(path).speed == 0.5


def test_a_section_that_does_not_inherit_ignores_the_root(path: Path) -> None:
    path.write_text("ink: black\nnoise: 7\n" + SECTION.replace("  ink: red\n", ""))
    assert complaint(ColdPress, path).startswith("ink is missing: add it")


def test_a_key_of_the_root_that_no_pipeline_knows_is_named(path: Path) -> None:
    path.write_text("speeed: 0.5\n" + SECTION)
    assert complaint(Press, path) == "speeed is not a known key: did you mean speed?"


def test_an_unknown_key_is_named_with_the_one_that_was_meant(path: Path) -> None:
    write_section(path, copys="4")
    assert complaint(Press, path) == "press.copys is not a known key: did you mean copies?"


@pytest.mark.parametrize("key", ["volume", "self", "section", "__init__", '"two words"', "é"])
def test_an_unknown_key_like_no_other_is_to_be_removed(path: Path, key: str) -> None:
    path.write_text(SECTION + f"  {key}: 4\n", encoding="utf-8")
    name = key.strip('"')
    assert complaint(Press, path) == f"press.{name} is not a known key: remove it"


def test_a_key_that_breaks_the_line_is_named_in_one_line(path: Path) -> None:
    write_section(path, **{r'"vol\nume"': "4"})
    assert "is not a known key" in complaint(Press, path)


def test_a_key_that_is_no_word_is_refused(path: Path) -> None:
    path.write_text(SECTION + "  3: 4\n")
    assert complaint(Press, path).startswith("press: ")


def test_a_missing_key_is_named_with_its_remedy(path: Path) -> None:
    path.write_text(SECTION.replace("  copies: 3\n", ""))
    remedy = "copies is missing: add it to the section press: or to the root"
    assert complaint(Press, path) == remedy


def test_every_problem_is_named_at_once(path: Path) -> None:
    write_section(path, copies="0", ink="blue", volume="4")
    message = complaint(Press, path)
    assert all(key in message for key in ("press.copies", "press.ink", "press.volume"))
    assert message.count("; ") == 2


def test_a_bad_value_of_the_root_is_not_said_to_be_the_sections(path: Path) -> None:
    path.write_text("ink: blue\n" + SECTION.replace("  ink: red\n", ""))
    assert complaint(Press, path).startswith("ink: ")


def test_keys_below_a_key_of_the_root_are_no_value(path: Path) -> None:
    path.write_text("ink:\n  color: red\n" + SECTION.replace("  ink: red\n", ""))
    assert complaint(Press, path).startswith("ink: ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("speed", "true"),  # a bool is no number
        ("speed", "fast"),
        ("speed", "'0.5'"),
        ("speed", "'1e-05'"),
        ("speed", "[0.5]"),
        ("speed", "{a: 1}"),
        ("speed", "null"),
        ("speed", ""),
        ("speed", ".nan"),
        ("speed", ".inf"),
        ("speed", "-.inf"),
        ("speed", "1e400"),
        ("speed", "-1e-5"),
        ("speed", "10.1"),
        ("speed", "1" + "0" * 400),
        ("speed", "2026-01-01"),
        ("copies", "true"),
        ("copies", "3.0"),
        ("copies", "3e0"),
        ("copies", "'3'"),
        ("copies", "[3]"),
        ("copies", "0"),
        ("copies", "null"),
        ("glossy", "1"),
        ("glossy", "0.0"),
        ("glossy", "'true'"),
        ("ink", "blue"),
        ("ink", "Black"),
        ("ink", "true"),
        ("ink", "[red]"),
        ("ink", r'"re\nd"'),
    ],
)
def test_a_bad_value_is_refused_with_its_key(path: Path, key: str, value: str) -> None:
    write_section(path, **{key: value})
    assert complaint(Press, path).startswith(f"press.{key}: ")


def test_a_bad_value_is_quoted_but_not_at_full_length(path: Path) -> None:
    write_section(path, ink="x" * 10_000)
    message = complaint(Press, path)
    assert "got 'xxx" in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("written", "speed"),
    [
        ("1e-05", 1e-5),  # as DVC writes it: a string in YAML 1.1
        ("1e-5", 1e-5),
        ("1E-5", 1e-5),
        ("1.e-5", 1e-5),
        ("1.0e-5", 1e-5),
        ("+1e-5", 1e-5),
        (".1e-4", 1e-5),
        ("1e0", 1.0),
        ("1.0e0", 1.0),
        (".1e1", 1.0),
        ("0.00001 # slow", 1e-5),
        ("0", 0.0),
        ("10", 10.0),
        ("10.0", 10.0),
    ],
)
def test_a_number_may_be_written_in_any_usual_way(path: Path, written: str, speed: float) -> None:
    write_section(path, speed=written)
    value = Press.from_yaml(path).speed
    assert value == speed
    assert type(value) is float


def test_what_dvc_writes_for_a_small_number_is_read_as_that_number(path: Path) -> None:
    path.write_text(SECTION)
    with modify_yaml(path) as params:
        params["press"]["speed"] = 0.00001
    assert "1e-05" in path.read_text()
    assert Press.from_yaml(path).speed == 0.00001


@pytest.mark.parametrize(
    "word", ["e5", "1e", "1e-", "1ee5", "1e5.0", "x1e5", "1_0e-5", "1e5 a copy", "65e4bb1f"]
)
def test_a_word_that_only_looks_like_a_number_stays_a_word(path: Path, word: str) -> None:
    write_section(path, speed=word)
    assert complaint(Press, path).endswith(f"got '{word}'")


def test_the_values_cannot_be_changed(path: Path) -> None:
    path.write_text(SECTION)
    press = Press.from_yaml(path)
    with pytest.raises(AttributeError):
        press.copies = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected keys and values"),
        (b"# nothing but a comment\n", "expected keys and values"),
        (b"- press\n", "expected keys and values"),
        (b"press\n", "expected keys and values"),
        (b"1: 2\n" + SECTION.encode(), "expected keys and values"),
        (b"a: [1\n", "cannot be read as YAML"),
        (b"a: 1\n\tb: 2\n", "cannot be read as YAML"),
        (b"a: *nowhere\n", "cannot be read as YAML"),
        (b"a: 1\n---\nb: 2\n", "cannot be read as YAML"),
        (b"? [a]\n: 1\n", "cannot be read as YAML"),
        (b"a: 2026-13-40\n", "cannot be read as YAML"),
        (b"a: !!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
        (b"a: \0\n", "cannot be read as YAML"),
        (b"a: \xff\n", "cannot be read as YAML"),
        ("a: é\n".encode("latin-1"), "cannot be read as YAML"),
        (SECTION.encode("utf-16"), "cannot be read as YAML"),
        (b"a: " + b"[" * 1500, "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    assert complaint(Press, path).startswith(reason)


def test_a_missing_file_is_refused(path: Path) -> None:
    assert "No such file" in complaint(Press, path)


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("ink: red\nink: black\n" + SECTION, "ink", 2),
        (SECTION + "  ink: black\n", "ink", 6),
        (SECTION + SECTION, "press", 6),
    ],
    ids=["root", "section", "sections"],
)
def test_a_key_that_stands_twice_is_refused(path: Path, text: str, key: str, line: int) -> None:
    path.write_text(text)
    assert f"line {line}: '{key}' stands there twice" in complaint(Press, path)


def test_the_same_key_in_two_sections_is_fine(path: Path) -> None:
    path.write_text("a:\n  ink: 1\nb:\n  ink: 2\n")
    assert read_params(path) == {"a": {"ink": 1}, "b": {"ink": 2}}


def test_values_may_be_shared_with_anchors(path: Path) -> None:
    path.write_text("a: &shared\n  ink: 1\nb:\n  <<: *shared\n  speed: 2\n")
    assert read_params(path)["b"] == {"ink": 1, "speed": 2}


@pytest.mark.parametrize("section", ["", "press:\n", "press: 3\n", "press: [speed]\n"])
def test_a_missing_section_is_named(path: Path, section: str) -> None:
    path.write_text("ink: red\n" + section)
    assert complaint(Press, path) == "the section press: is missing; add it"


def test_letters_beyond_ascii_are_read_as_utf_8(path: Path) -> None:
    path.write_bytes("name: Größe\n".encode())
    assert read_params(path) == {"name": "Größe"}
