"""The page in a real Chromium, on random weights: all but how well it recognizes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.keys import Keys

from tests.web.conftest import Page, serving
from tests.web.letters import LETTERS, Stroke
from tools.serve import HOST, POLICY

INK = 22
"""The longer side of a letter, pixels."""


@pytest.fixture(autouse=True)
def nothing_wrong(page: Page) -> Iterator[None]:
    """Each test begins on an empty pad, and ends with an empty console and no request elsewhere."""
    page.find("#clear").click()
    yield
    assert page.console() == []
    assert {urlsplit(address).hostname for address in page.requests()} <= {HOST}


def box(pixels: list[int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is not black in the 32 x 32 pixels that the model sees."""
    inked = np.reshape(pixels, (32, 32)) > 64
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_the_page_loads_and_asks_for_nothing_elsewhere(page: Page) -> None:
    page.requests()
    page.open()
    assert page.state == "ready"
    assert page.status.startswith("Ready.")
    asked = {urlsplit(address) for address in page.requests()}
    assert {address.netloc for address in asked} == {urlsplit(page.address).netloc}
    assert {"/", "/app.js", "/model/model.json", "/model/weights.bin"} <= {a.path for a in asked}


def test_the_browser_computes_what_keras_computes(page: Page, random_model: Path) -> None:
    golden = json.loads((random_model / "golden.json").read_text(encoding="utf-8"))
    assert len(golden["images"]) == 26
    computed = page.run(
        "const {load} = await import('/classifier.js');"
        "const {predict, classes, inkSize, side} = await load('model/model.json');"
        "const rows = given[0].map((image) => Array.from(predict(image.map((v) => v / 255))));"
        "return {rows, classes, inkSize, side};",
        golden["images"],
    )
    expected = np.array(golden["probabilities"])
    assert expected.max() > 0.1  # not all the same
    np.testing.assert_allclose(computed["rows"], expected, atol=1e-5, rtol=0)
    assert computed["classes"] == list("abcdefghijklmnopqrstuvwxyz")
    assert (computed["inkSize"], computed["side"]) == (INK, 32)


def test_the_page_may_not_evaluate_text_nor_ask_elsewhere(page: Page) -> None:
    assert page.find("meta[http-equiv]").get_attribute("content") == POLICY
    # In a later task, because the driver's own may evaluate.
    later = "await new Promise((go) => setTimeout(go)); return new Function('return 1')();"
    assert "EvalError" in page.run(later)
    assert "Failed to fetch" in page.run("await fetch('http://127.0.0.1:9/');")
    told = page.console()
    assert told
    assert all("Content Security Policy" in line or "Refused" in line for line in told)


@pytest.mark.parametrize(
    ("scale", "at"), [(8, (20, 50)), (2, (170, 170)), (1, (6, 6)), (2, (330, 6)), (1, (365, 365))]
)
def test_position_and_size_do_not_matter(page: Page, scale: int, at: tuple[int, int]) -> None:
    guesses, seen = page.draw(LETTERS["R"]), page.seen
    assert len(guesses) == 3
    moved = page.draw(LETTERS["R"], scale, at)
    assert [letter for letter, _ in moved] == [letter for letter, _ in guesses]
    for (_, before), (_, after) in zip(guesses, moved, strict=True):
        assert after == pytest.approx(before, abs=0.2)
    np.testing.assert_allclose(page.seen, seen, atol=3)


def test_the_model_sees_the_letter_in_the_size_of_training_and_in_the_middle(page: Page) -> None:
    page.draw(LETTERS["H"])
    left, top, right, bottom = box(page.seen)
    assert bottom - top in (INK, INK + 1)
    assert right - left == pytest.approx(3 + (INK - 3) * 28 / 40, abs=1.5)
    assert [left + right, top + bottom] == pytest.approx([32, 32], abs=1)
    assert max(page.seen) == 255


def test_a_tap_is_a_dot_and_not_a_large_one(page: Page) -> None:
    assert len(page.draw([[(20, 20)]])) == 3
    left, top, right, bottom = box(page.seen)
    assert (right - left, bottom - top) in [(w, h) for w in (3, 4) for h in (3, 4)]


def test_a_finger_draws_as_a_mouse_does(page: Page) -> None:
    by_mouse, seen = page.draw(LETTERS["K"]), page.seen
    by_finger = page.draw(LETTERS["K"], kind=POINTER_TOUCH)
    assert by_finger == by_mouse
    assert page.seen == seen


def test_a_letter_is_drawn_with_the_keyboard_alone(page: Page) -> None:
    page.open()
    page.press(Keys.TAB)
    pad = page.browser.switch_to.active_element
    assert (pad.aria_role, pad.accessible_name) == ("application", "Drawing pad")
    page.press(Keys.SPACE)
    assert page.status == "The pen is down."
    page.press(*[Keys.ARROW_DOWN] * 10, *[Keys.ARROW_RIGHT] * 6, Keys.SPACE)
    assert len(page.guesses) == 3
    by_keyboard = page.seen
    page.draw([[(0, 0), (0, 40), (24, 40)]])
    np.testing.assert_allclose(by_keyboard, page.seen, atol=3)


def test_the_keyboard_draws_diagonals_and_lifts_the_pen_between_strokes(page: Page) -> None:
    page.find("#pad").send_keys(
        Keys.SPACE, *[Keys.END] * 10, Keys.SPACE, *[Keys.ARROW_RIGHT] * 10, Keys.SPACE,
        *[Keys.HOME] * 10, Keys.SPACE, *[Keys.PAGE_DOWN] * 2, *[Keys.PAGE_UP] * 2,
    )  # fmt: skip
    by_keyboard = page.seen
    page.draw([[(40, 0), (0, 40)], [(40, 40), (0, 0)]])
    np.testing.assert_allclose(by_keyboard, page.seen, atol=40)  # of 255: it has more points


@pytest.mark.parametrize("way", ["#undo", Keys.BACKSPACE, (Keys.CONTROL, "z")])
def test_undo_takes_the_last_stroke_back(page: Page, way: str | tuple[str, ...]) -> None:
    page.draw(LETTERS["T"][:1])
    one_stroke, guesses = page.seen, page.guesses
    page.draw(LETTERS["T"])
    assert page.seen != one_stroke
    page.find("#undo").click() if way == "#undo" else page.find("#pad").send_keys(*way)
    assert (page.seen, page.guesses) == (one_stroke, guesses)


@pytest.mark.parametrize("way", ["#clear", Keys.ESCAPE, Keys.DELETE])
def test_clear_leaves_nothing_and_no_guess_on_nothing(page: Page, way: str) -> None:
    page.draw(LETTERS["T"])
    assert any(page.seen)
    page.find("#clear").click() if way == "#clear" else page.find("#pad").send_keys(way)
    assert not any(page.seen)
    assert page.guesses == []
    assert page.status.startswith("Ready.")
    page.find("#undo").click()  # of nothing
    assert page.guesses == []


def test_it_says_when_it_is_not_sure_to_those_who_only_hear_it(page: Page) -> None:
    first, second, _ = page.draw(LETTERS["S"])
    assert first[1] < 90
    assert page.status == f"Not sure: {first[0]}, or perhaps {second[0]}."
    assert page.find("#status").aria_role == "status"
    assert page.find("#seen").accessible_name.startswith("What the model sees")


def test_a_stroke_that_is_cleared_while_it_is_drawn_is_gone(page: Page) -> None:
    pad = page.find("#pad")
    chain = ActionChains(page.browser, duration=0)
    chain.move_to_element_with_offset(pad, -50, 0).click_and_hold().move_by_offset(80, 9)
    chain.send_keys(Keys.ESCAPE).move_by_offset(9, 80).release().perform()
    assert not any(page.seen)
    assert len(page.draw(LETTERS["L"])) == 3


CONTRAST = """
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const [text, sheet] = [given[0], given[1]].map((s) => getComputedStyle(document.querySelector(s)));
const [a, b] = [luminance(text.color), luminance(sheet.backgroundColor)].sort((x, y) => y - x);
return (a + .05) / (b + .05);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_it_fits_any_width_and_can_be_read_in_light_and_dark(
    page: Page, scheme: str, width: int
) -> None:
    emulate: Any = page.browser.execute_cdp_cmd
    size = {"width": width, "height": 740, "deviceScaleFactor": 2, "mobile": width < 500}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    try:
        emulate("Emulation.setDeviceMetricsOverride", size)
        emulate("Emulation.setEmulatedMedia", {"features": features})
        page.draw(LETTERS["W"], scale=4)
        page.find("summary").click()
        widths = page.run(
            "return [document.documentElement.scrollWidth, innerWidth, document.body.clientWidth]"
        )
        assert widths[0] <= widths[1] == width
        assert page.find("#pad").size["width"] <= width
        paper = page.run("return getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(247, 245, 240)", "dark": "rgb(27, 26, 24)"}[scheme]
        for text, sheet in (
            ("#status", "body"),
            ("header p", "body"),
            ("summary", "body"),
            ("#guesses li", "body"),
            ("button", "button"),
            ("#pad", "#pad"),
        ):
            assert page.run(CONTRAST, text, sheet) >= 4.5, text
    finally:
        page.find("summary").click()
        emulate("Emulation.clearDeviceMetricsOverride", {})
        emulate("Emulation.setEmulatedMedia", {"features": []})


def test_a_model_that_cannot_be_loaded_is_told(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path) as address:
        broken = Page(page.browser, address)
        broken.open()
        assert broken.state == "failed"
        assert broken.status.startswith("The model could not be loaded: ")
        broken.draw(LETTERS["L"])  # nothing breaks
        assert broken.guesses == []
        assert all("404" in line for line in broken.console())
    page.open()


def test_a_hand_that_leaves_the_pad_draws_on_its_border(page: Page) -> None:
    outside: Stroke = [(0, 0), (0, 60), (60, 60)]
    assert len(page.draw([outside], scale=8, at=(40, 40))) == 3
    left, top, right, bottom = box(page.seen)
    assert [right - left, bottom - top] == pytest.approx([INK, INK], abs=1)
