"""Drawn letters are recognized by the trained classifier: `make test-web`."""

from typing import Any

import pytest

from stages.export_web import MODEL
from tests.conftest import ROOT
from tests.web.conftest import serving
from tests.web.letters import LETTERS

PLACES = [
    (8, (40, 40)),
    (2, (165, 165)),
    (1, (6, 6)),
    (2, (325, 6)),
    (1, (6, 370)),
    (2, (325, 325)),
]


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
