"""What the config of the letters accepts: all that the digits' does, and how letters are drawn."""

from __future__ import annotations

import string
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import pytest

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.config import MnistConfig
from tests.conftest import Params
from tests.mnist import test_config
from tests.mnist.test_params import complaint

SHARED = [field.name for field in fields(MnistConfig)]
OWN = [field.name for field in fields(AsciiLetterConfig) if field.name not in SHARED]


class TestAsciiLetterConfig(test_config.TestMnistConfig):
    config_class: ClassVar[type[MnistConfig]] = AsciiLetterConfig

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("n_classes", 2),
            ("n_classes", 26),
            ("n_images_per_class", 1),
            ("n_unseen_per_class", 1),
            ("unseen_families", ["Lato"]),
            ("letter_size", 8),
            ("off_center", 0),
            ("off_center", 16),
        ],
    )
    def test_a_value_of_the_letters_at_its_limit_is_accepted(
        self, path: Path, tiny_params: Params, key: str, value: Any
    ) -> None:
        self.write(path, tiny_params, **{key: value})
        assert getattr(self.config_class.from_yaml(path), key) == value

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("n_classes", 27),  # the alphabet has no more
            ("n_classes", 26.0),
            ("n_images_per_class", 0),
            ("n_images_per_class", 2.0),
            ("n_unseen_per_class", 0),
            ("n_unseen_per_class", "4"),
            ("unseen_families", []),
            ("unseen_families", "Lato"),
            ("letter_size", 7),
            ("letter_size", True),
            ("off_center", -0.1),
            ("off_center", 16.1),
            ("off_center", float("nan")),
            ("off_center", "2"),
        ],
    )
    def test_a_bad_value_of_the_letters_is_refused_with_its_key(
        self, path: Path, tiny_params: Params, key: str, value: Any
    ) -> None:
        self.write(path, tiny_params, **{key: value})
        assert complaint(self.config_class, path).startswith(f"ascii_letter.{key}: ")

    def test_a_family_that_is_no_text_is_refused_with_its_place(
        self, path: Path, tiny_params: Params
    ) -> None:
        self.write(path, tiny_params, unseen_families=["Lato", 7])
        assert complaint(self.config_class, path).startswith("ascii_letter.unseen_families.1: ")

    @pytest.mark.parametrize("key", OWN)
    def test_a_missing_key_of_the_letters_is_named(
        self, path: Path, tiny_params: Params, key: str
    ) -> None:
        del tiny_params["ascii_letter"][key]
        self.write(path, tiny_params)
        assert complaint(self.config_class, path).startswith(f"{key} is missing: ")


def test_the_letters_state_only_how_they_are_drawn() -> None:
    assert set(OWN) == {
        "n_images_per_class",
        "n_unseen_per_class",
        "unseen_families",
        "letter_size",
        "off_center",
    }
    # The rest is the parent's, but that the alphabet ends.
    assert {*AsciiLetterConfig.__annotations__} == {"section", "n_classes", *OWN}


def test_both_pipelines_take_the_same_value_from_the_root(
    project: Path, tiny_params: Params
) -> None:
    of_sections = {*tiny_params["mnist"], *tiny_params["ascii_letter"]}
    from_root = [key for key in SHARED if key not in of_sections]
    letters, digits = AsciiLetterConfig.from_yaml(), MnistConfig.from_yaml()
    assert len(from_root) > len(OWN)
    for key in from_root:
        assert getattr(letters, key) == getattr(digits, key) == tiny_params[key], key


def test_each_pipeline_takes_its_own_value_from_its_section(
    project: Path, tiny_params: Params
) -> None:
    for config in (AsciiLetterConfig.from_yaml(), MnistConfig.from_yaml()):
        for key, value in tiny_params[config.section].items():
            assert getattr(config, key) == value, key


def test_a_key_of_the_letters_alone_is_unknown_to_the_digits() -> None:
    assert not set(OWN) & set(SHARED)
    assert not any(hasattr(MnistConfig, key) for key in OWN)


@pytest.mark.parametrize("n_classes", [2, 3, 26])
def test_the_classes_are_the_first_letters_of_the_alphabet(
    project: Path, tiny_params: Params, n_classes: int
) -> None:
    TestAsciiLetterConfig().write(project / "params.yaml", tiny_params, n_classes=n_classes)
    names = AsciiLetterConfig.from_yaml().class_names
    assert names == tuple(string.ascii_lowercase[:n_classes])
