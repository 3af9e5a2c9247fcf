"""Letters that are drawn are recognized. Needs the trained weights: `make test-web`."""

from __future__ import annotations

import pytest

from tests.web.conftest import Page
from tests.web.letters import LETTERS

pytestmark = pytest.mark.web
PLACES = [
    pytest.param(8, (40, 40), id="large"),
    pytest.param(2, (165, 165), id="small"),
    pytest.param(1, (6, 6), id="small, top left"),
    pytest.param(2, (325, 6), id="small, top right"),
    pytest.param(1, (6, 370), id="small, bottom left"),
    pytest.param(2, (325, 325), id="small, bottom right"),
]


@pytest.mark.parametrize(("scale", "at"), PLACES)
def test_letters_are_recognized_wherever_and_however_large_they_are_drawn(
    trained_page: Page, scale: int, at: tuple[int, int]
) -> None:
    first = {
        letter: trained_page.draw(strokes, scale, at)[0] for letter, strokes in LETTERS.items()
    }
    wrong = {letter: guess for letter, guess in first.items() if guess[0] != letter}
    assert len(wrong) <= 2, wrong
    assert not wrong.keys() & set("LTOX"), wrong
    assert trained_page.console() == []


def test_it_says_which_letter_it_is_sure_of(trained_page: Page) -> None:
    (letter, percent), *_ = trained_page.draw(LETTERS["T"])
    assert letter == "T"
    assert percent >= 90
    assert trained_page.status == "This is T."
