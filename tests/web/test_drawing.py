"""Drawn letters are recognized by the trained classifier: `make test-web`."""

from typing import Any

import pytest

from stages.export_web import MODEL
from tests.conftest import ROOT
from tests.web.conftest import serving
from tests.web.letters import LETTERS, SERIFS, SMALL, Stroke, written

PLACES = [(8, (40, 40)), (1, (6, 370)), (2, (325, 325))]
HANDS = range(3)
ALIKE = {"l": "IL"}  # a plain stroke is either
SCRIBBLE: Stroke = [((7 * i * i) % 40, (11 * i * i + 5 * i) % 40) for i in range(20)]


@pytest.mark.web
def test_26_capitals_are_recognized_wherever_and_however_large_they_are(browser: Any) -> None:
    assert (ROOT / MODEL).is_dir(), f"{MODEL} is missing. Run `make test-web`"
    with serving(browser, ROOT / MODEL) as page:
        for scale, at in PLACES:
            first = {name: page.draw(strokes, scale, at)[0] for name, strokes in LETTERS.items()}
            wrong = {name: guess for name, guess in first.items() if guess[0] != name}
            assert len(first) == 26
            assert len(wrong) <= 2, (scale, at, wrong)
            assert not wrong.keys() & set("LTOX"), wrong
        assert page.draw(LETTERS["T"])[0][1] >= 90
        assert page.status == "This is T."
        assert page.console() == []


@pytest.mark.web
def test_capitals_and_small_letters_of_several_hands_are_recognized(browser: Any) -> None:
    shapes = [*(LETTERS | {"I": SERIFS}).items(), *SMALL.items()]
    assert len(shapes) == 52
    sure = []
    with serving(browser, ROOT / MODEL) as page:
        for hand in HANDS:
            wrong = {}
            for name, strokes in shapes:
                guess, probability = page.draw(written(strokes, hand), 1, (0, 0))[0]
                if guess not in ALIKE.get(name, name.upper()):
                    wrong[name] = guess, probability
                    sure += [(hand, name)] if page.status.startswith("This is ") else []
            assert len(wrong) <= 4, (hand, wrong)
        assert len(sure) <= 1, sure
        page.draw([SCRIBBLE])
        assert page.status == "This is not a letter."
