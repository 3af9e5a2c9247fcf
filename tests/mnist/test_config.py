"""What the config of a pipeline accepts. A child subclasses TestMnistConfig with its own class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from stages.mnist.config import MnistConfig
from tests.conftest import ROOT, Params, write_params
from tests.mnist.test_params import complaint


class TestMnistConfig:
    config_class: ClassVar[type[MnistConfig]] = MnistConfig

    @pytest.fixture
    def path(self, project: Path) -> Path:
        return project / "params.yaml"

    def write(self, path: Path, params: Params, **values: Any) -> None:
        """Writes params.yaml with these values in the pipeline's own section."""
        params[self.config_class.section] |= values
        write_params(path.parent, params)

    def test_the_params_of_the_project_are_accepted(self) -> None:
        config = self.config_class.from_yaml(ROOT / "params.yaml")
        assert isinstance(config, self.config_class)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("seed", 0),
            ("seed", 2**32 - 1),
            ("n_channels", 3),
            ("image_height", 8),
            ("image_width", 8),
            ("batch_size", 1),
            ("shuffle_buffer", 1),
            ("max_rotation", 0),
            ("max_rotation", 180),
            ("max_shift", 0),
            ("max_zoom", 0),
            ("max_shear", 0.99),
            ("feature_dropout", 0),
            ("batch_norm_momentum", 0),
            ("warmup", 0),
            ("n_epochs", 1),
            ("learning_rate", 1e-05),
            ("learning_rate", 10),
            ("learning_rate_schedule", "constant"),
            ("optimizer", "sgd"),
        ],
    )
    def test_a_value_at_its_limit_is_accepted(
        self, path: Path, tiny_params: Params, key: str, value: Any
    ) -> None:
        self.write(path, tiny_params, **{key: value})
        assert getattr(self.config_class.from_yaml(path), key) == value

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("seed", -1),
            ("seed", 2**32),
            ("seed", True),
            ("seed", 1.0),
            ("n_classes", 1),
            ("n_train_samples", 0),
            ("n_test_samples", 0),
            ("image_height", 7),
            ("image_width", 7),
            ("image_width", "28"),
            ("n_channels", 2),
            ("n_channels", True),
            ("batch_size", 0),
            ("shuffle_buffer", 0),
            ("max_rotation", -1),
            ("max_rotation", 181),
            ("max_rotation", False),
            ("max_shift", -0.1),
            ("max_shift", float("inf")),
            ("max_zoom", 1),
            ("max_shear", 1),
            ("feature_dropout", 1),
            ("feature_dropout", -0.1),
            ("dense_dropout", 1),
            ("dense_dropout", -0.1),
            ("batch_norm_momentum", 1),
            ("batch_norm_momentum", float("nan")),
            ("dtype_policy", "float16"),
            ("pretrained_features", 1),
            ("pretrained_features", "yes"),
            ("freeze_features", 0),
            ("n_epochs", 0),
            ("n_epochs", 1.5),
            ("learning_rate", 0),
            ("learning_rate", 11),
            ("learning_rate", True),
            ("learning_rate", [0.003]),
            ("learning_rate", "0.003"),
            ("learning_rate_schedule", "linear"),
            ("warmup", 1),
            ("warmup", -0.1),
            ("optimizer", "Adam"),
            ("optimizer", None),
        ],
    )
    def test_a_bad_value_is_refused_with_its_key(
        self, path: Path, tiny_params: Params, key: str, value: Any
    ) -> None:
        self.write(path, tiny_params, **{key: value})
        place = f"{self.config_class.section}.{key}"
        assert complaint(self.config_class, path).startswith(f"{place}: ")

    def test_an_unknown_key_is_named_with_the_one_that_was_meant(
        self, path: Path, tiny_params: Params
    ) -> None:
        self.write(path, tiny_params, learning_rat=0.1)
        place = f"{self.config_class.section}.learning_rat"
        expected = f"{place} is not a known key: did you mean learning_rate?"
        assert complaint(self.config_class, path) == expected

    def test_a_missing_key_is_named_with_its_remedy(self, path: Path, tiny_params: Params) -> None:
        section = self.config_class.section
        for place in (tiny_params, tiny_params[section]):
            place.pop("optimizer", None)
        self.write(path, tiny_params)
        expected = f"optimizer is missing: add it to the section {section}: or to the root"
        assert complaint(self.config_class, path) == expected

    def test_the_value_of_the_section_wins_over_the_root(
        self, path: Path, tiny_params: Params
    ) -> None:
        tiny_params["batch_size"] = 7
        tiny_params[self.config_class.section].pop("batch_size", None)
        self.write(path, tiny_params)
        assert self.config_class.from_yaml(path).batch_size == 7
        self.write(path, tiny_params, batch_size=9)
        assert self.config_class.from_yaml(path).batch_size == 9

    def test_a_whole_number_is_a_learning_rate(self, path: Path, tiny_params: Params) -> None:
        self.write(path, tiny_params, learning_rate=1)
        assert type(self.config_class.from_yaml(path).learning_rate) is float

    def test_a_small_number_as_dvc_writes_it_is_a_learning_rate(
        self, path: Path, tiny_params: Params
    ) -> None:
        self.write(path, tiny_params, learning_rate=0.125)
        path.write_text(path.read_text().replace("0.125", "1e-05"))
        assert self.config_class.from_yaml(path).learning_rate == 1e-05

    def test_the_shape_of_an_image_is_height_width_channels(
        self, path: Path, tiny_params: Params
    ) -> None:
        self.write(path, tiny_params, image_height=10, image_width=20, n_channels=3)
        assert self.config_class.from_yaml(path).image_shape == (10, 20, 3)

    def test_each_class_has_a_name_of_its_own(self, path: Path) -> None:
        config = self.config_class.from_yaml(path)
        assert len(set(config.class_names)) == len(config.class_names) == config.n_classes

    def test_the_config_cannot_be_changed(self, path: Path) -> None:
        config = self.config_class.from_yaml(path)
        with pytest.raises(AttributeError):
            config.seed = 1  # type: ignore[misc]


def test_the_name_of_a_digit_is_the_digit(project: Path) -> None:
    assert MnistConfig.from_yaml().class_names == tuple("0123456789")
