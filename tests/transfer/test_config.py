"""What the budget of the comparison accepts."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from stages.transfer.config import TransferConfig
from tests.conftest import ROOT, Params, write_params
from tests.mnist.test_params import complaint


def test_the_projects_own_values_are_accepted() -> None:
    config = TransferConfig.from_yaml(ROOT / "params.yaml")
    assert config.labels_per_class == sorted(set(config.labels_per_class))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels_per_class", [1]),
        ("n_unseen_per_class", 1),
        ("n_seeds", 2),
        ("n_steps", 1),
        ("batch_size", 1),
        ("learning_rate", 1e-5),
        ("learning_rate", 10),
    ],
)
def test_a_value_at_its_limit_is_accepted(
    project: Path, tiny_params: Params, key: str, value: Any
) -> None:
    tiny_params["transfer"][key] = value
    write_params(project, tiny_params)
    assert getattr(TransferConfig.from_yaml(), key) == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels_per_class", []),
        ("labels_per_class", 5),
        ("labels_per_class", None),
        ("labels_per_class", [2, 1, 2]),  # would count a training twice
        ("n_unseen_per_class", 0),
        ("n_unseen_per_class", 2.0),
        ("n_seeds", 1),  # has no interval
        ("n_seeds", "5"),
        ("n_steps", 0),
        ("n_steps", 1.5),
        ("batch_size", 0),
        ("batch_size", True),
        ("learning_rate", 0),
        ("learning_rate", 10.1),
        ("learning_rate", True),
        ("learning_rate", "0.003"),
        ("learning_rate", float("nan")),
    ],
)
def test_a_bad_value_is_refused_with_its_key(
    project: Path, tiny_params: Params, key: str, value: Any
) -> None:
    tiny_params["transfer"][key] = value
    write_params(project, tiny_params)
    said = complaint(TransferConfig, project / "params.yaml")
    assert said.startswith(f"transfer.{key}: ")


@pytest.mark.parametrize("number", [0, -1, 2.0, "2", True])
def test_a_number_of_labels_that_is_none_is_refused_with_its_place(
    project: Path, tiny_params: Params, number: Any
) -> None:
    tiny_params["transfer"]["labels_per_class"] = [1, number]
    write_params(project, tiny_params)
    said = complaint(TransferConfig, project / "params.yaml")
    assert said.startswith("transfer.labels_per_class.1: ")


@pytest.mark.parametrize("key", [field.name for field in fields(TransferConfig)])
def test_nothing_is_taken_from_the_root(project: Path, tiny_params: Params, key: str) -> None:
    tiny_params[key] = tiny_params["transfer"].pop(key)
    write_params(project, tiny_params)
    assert complaint(TransferConfig, project / "params.yaml").startswith(f"{key} is missing: ")


def test_a_key_that_is_unknown_is_named(project: Path, tiny_params: Params) -> None:
    tiny_params["transfer"]["n_epochs"] = 3
    write_params(project, tiny_params)
    said = complaint(TransferConfig, project / "params.yaml")
    assert said.startswith("transfer.n_epochs is not a known key: ")
