from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.mnist.config import MnistConfig
from tests.conftest import ROOT
from tests.core.test_config import Limits, assert_limits

LIMITS: Limits = {
    "n_classes": ((2, 26), (1, 27, 26.0)),
    "n_images_per_class": ((1,), (0, 2.0)),
    "n_validation_per_class": ((1,), (0, None)),
    "n_unseen_per_class": ((1,), (0, "4")),
    "pen_share": ((0, 0.99), (-0.1, 1)),
    "script_share": ((0, 0.99), (-0.1, 1)),
    "letter_size": ((8, 512), (7, 513, True)),
    "off_center": ((0, 16), (-0.1, 16.1, float("nan"), "2")),
}


def test_limits_of_the_values() -> None:
    assert_limits(AsciiLetterConfig(), LIMITS)


def test_the_letters_add_only_how_they_are_drawn_and_need_no_file() -> None:
    added = set(AsciiLetterConfig.model_fields) - set(MnistConfig.model_fields)
    assert added == set(LIMITS) - {"n_classes"}
    stated = set(AsciiLetterConfig.__annotations__)
    from_file = AsciiLetterConfig.from_yaml(ROOT / "params.yaml")
    assert AsciiLetterConfig().model_dump(include=stated) == from_file.model_dump(include=stated)


def test_the_classes_are_the_first_letters_of_the_alphabet() -> None:
    assert AsciiLetterConfig().class_names == tuple("abcdefghijklmnopqrstuvwxyz")
    assert AsciiLetterConfig(n_classes=3).class_names == ("a", "b", "c")
