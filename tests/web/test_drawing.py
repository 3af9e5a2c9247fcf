"""Drawn letters and digits are recognized by the trained classifiers: `make test-web`."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letterpress import load
from stages.export_web import MODEL
from tests.conftest import ROOT
from tests.web.conftest import serving
from tests.web.golden import draw_pictures
from tests.web.letters import DIGITS, LETTERS, SERIFS, SMALL, Stroke, written

PLACES = [(8, (40, 40)), (1, (6, 370)), (2, (325, 325))]
HANDS = range(3)
ALIKE = {"l": "IL"}  # a plain stroke is either
SCRIBBLES: list[Stroke] = [
    [((7 * i * i + 3 * n * i) % 40, ((11 + 2 * n) * i * i + 5 * i) % 40) for i in range(20)]
    for n in range(12)
]


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """The page with the trained classifiers."""
    assert (ROOT / MODEL).is_dir(), f"{MODEL} is missing. Run `make test-web`"
    with serving(browser, ROOT / MODEL) as page:
        yield page


def assert_most_are_none(page: Any, what: str) -> None:
    """Draws scribbles: at most one is sure to be a class, as one in twenty of any training may be."""
    said = []
    for scribble in SCRIBBLES:
        page.draw([scribble])
        said.append(page.status)
    none = said.count(f"This is not a {what}.")
    assert none >= 9, said
    assert sum(one.startswith("This is ") for one in said) <= none + 1, said


# The longest test is the first: the others run beside it.
@pytest.mark.web
def test_capitals_and_small_letters_of_several_hands_are_recognized(page: Any) -> None:
    shapes = [*(LETTERS | {"I": SERIFS}).items(), *SMALL.items()]
    assert len(shapes) == 52
    sure = []
    for hand in HANDS:
        wrong = {}
        for name, strokes in shapes:
            guess, probability = page.draw(written(strokes, hand), 1, (0, 0))[0]
            if guess not in ALIKE.get(name, name.upper()):
                wrong[name] = guess, probability
                sure += [(hand, name)] if page.status.startswith("This is ") else []
        assert len(wrong) <= 4, (hand, wrong)
    assert len(sure) <= 1, sure
    assert_most_are_none(page, "letter")


@pytest.mark.web
def test_26_capitals_are_recognized_wherever_and_however_large_they_are(page: Any) -> None:
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
def test_digits_of_several_hands_are_recognized_on_their_tab(page: Any) -> None:
    page.show("digits")
    for hand in HANDS:
        wrong = {}
        for name, strokes in DIGITS.items():
            guess, probability = page.draw(written(strokes, hand), 1, (0, 0))[0]
            if guess != name:
                wrong[name] = guess, probability
                assert not page.status.startswith("This is "), (hand, wrong)
        assert len(wrong) <= 1, (hand, wrong)
    assert_most_are_none(page, "digit")
    page.show("letters")
    assert "digit" not in page.status
    assert page.console() == []


@pytest.mark.web
def test_a_dropped_picture_of_a_digit_is_read_as_predict_reads_it(
    page: Any, tmp_path: Path
) -> None:
    digits = load("digits", ROOT)
    page.show("digits")
    for condition, entry in draw_pictures(digits.config).items():
        if len(entry.get("images", [])) != 1:
            continue
        picture = tmp_path / "digit.png"
        picture.write_bytes(base64.b64decode(entry["file"]))
        answer = digits.predict(picture)
        page.give(entry["file"], "drop")
        page.wait(lambda: len(page.guesses) == 3)
        expected = [(name, 100 * probability) for name, probability in answer.guesses[:3]]
        assert page.guesses[0][0] == expected[0][0], condition
        assert page.guesses[0][1] == pytest.approx(expected[0][1], abs=1), condition
        assert page.status.startswith("This is not") == answer.is_none
        page.find("#clear").click()
