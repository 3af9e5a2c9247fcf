"""Letters are classified with the letters' params and weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.ascii_letter.config import AsciiLetterConfig
from stages.ascii_letter.glyphs import draw_letter, find_typefaces
from stages.ascii_letter.predict import CLASSIFIER, main
from stages.mnist.model import build_classifier
from stages.mnist.picture import ink_size, prepare


def test_a_letter_is_classified(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = AsciiLetterConfig.from_yaml()
    classifier = build_classifier(config)
    CLASSIFIER.parent.mkdir(parents=True)
    classifier.save_weights(CLASSIFIER)
    picture = draw_letter("R", find_typefaces()[0][0], 80, (100, 140), (49, 12))
    picture.save("r.png")
    monkeypatch.setattr(sys, "argv", ["predict", "--json", "r.png"])
    main()
    guesses = json.loads(capsys.readouterr().out)["guesses"]
    expected = classifier.predict_on_batch(prepare(picture, config)[np.newaxis])[0]
    assert guesses[0]["class"] == config.class_names[expected.argmax()]
    assert guesses[0]["probability"] == pytest.approx(float(expected.max()), abs=1e-5)


def test_letters_are_scaled_to_the_mean_size_of_those_that_training_saw(project: Path) -> None:
    config = AsciiLetterConfig.from_yaml()
    sides = []
    for typeface in (face for family in find_typefaces() for face in family):
        for name in config.class_names:
            for letter in (name, name.upper()):
                shape = config.image_height, config.image_width
                left, top, right, bottom = draw_letter(
                    letter, typeface, config.letter_size, shape
                ).getbbox() or (0, 0, 0, 0)
                sides.append(max(right - left, bottom - top))
    assert ink_size(config) == pytest.approx(np.mean(sides), abs=1)
