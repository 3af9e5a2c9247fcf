"""The page in a real Chromium, on random weights: everything but how well it recognizes."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.keys import Keys

from letterpress.model.network import build_classifier
from letterpress.prediction.picture import ink_size
from letterpress.web.export import export
from tests.web.conftest import CALIBRATION, CONFIGS, Page, serving
from tests.web.golden import draw_images, draw_pictures
from tests.web.letters import DIGITS, LETTERS, Stroke
from tools.serve import POLICY

INK = 22
"""The longer side of a letter, pixels."""
TARGETS = {
    name: {"side": config.image_width, "inkSize": ink_size(config), "placement": config.placement}
    for name, config in CONFIGS.items()
}


@pytest.fixture(autouse=True)
def nothing_wrong(page: Page) -> Iterator[None]:
    """Starts each test on an empty pad; checks the console, where requests elsewhere fail."""
    page.find("#clear").click()
    yield
    assert page.console() == []


def extent(seen: Any) -> tuple[int, int]:
    """Returns the width and height of the ink that the model sees, and checks that it is centred."""
    rows, columns = np.flatnonzero((seen > 64).any(axis=1)), np.flatnonzero((seen > 64).any(axis=0))
    assert [columns[0] + columns[-1], rows[0] + rows[-1]] == pytest.approx([31, 31], abs=1)
    return columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1


@pytest.mark.parametrize("name", CONFIGS)
def test_the_browser_computes_what_keras_computes(
    page: Page, random_model: Path, name: str
) -> None:
    config = CONFIGS[name]
    images = draw_images(config)
    computed = page.run(
        "const {load} = await import('/classifier.js');"
        "const {predict, classify, classes, inkSize, side} ="
        "await load(`model/${given[0]}/model.json`);"
        "const images = given[1].map((image) => image.map((v) => v / 255));"
        "const rows = images.map((image) => Array.from(predict(image)));"
        "return {rows, answers: images.map(classify), classes, inkSize, side};",
        name,
        images.reshape(len(images), -1).tolist(),
    )
    classifier = build_classifier(config)
    classifier.load_weights(random_model.with_name(f"{name}.weights.h5"))
    expected = classifier.predict_on_batch(images / np.float32(255))
    assert expected.shape == (config.n_classes, config.n_outputs)
    assert np.ptp(expected) > 0.01  # not all equal
    np.testing.assert_allclose(computed["rows"], expected, atol=1e-5, rtol=0)
    answers = [[*answer["shares"], answer["none"]] for answer in computed["answers"]]
    np.testing.assert_allclose(answers, CALIBRATION.apply(expected), atol=1e-5, rtol=0)
    assert computed["classes"] == list(config.class_names)
    assert (computed["inkSize"], computed["side"]) == (ink_size(config), config.image_width)


def test_a_drawing_of_no_class_is_said_to_be_no_letter(
    browser: Any, page: Page, random_model: Path, tmp_path: Path
) -> None:
    classifier = build_classifier(CONFIGS["letters"])
    classifier.load_weights(random_model.with_name("letters.weights.h5"))
    bias = classifier.weights[-1]
    bias.assign([*[0.0] * 26, 99.0])
    classifier.save_weights(weights := tmp_path / "none.weights.h5")
    calibration = random_model.with_name("calibration.json")
    export(CONFIGS["letters"], weights, calibration, tmp_path / "model/letters")
    with serving(browser, tmp_path / "model") as other:
        other.draw(LETTERS["R"])
        assert other.status == "This is not a letter."
    page.open()


READ = (
    "const {prepareEach} = await import('/picture.js');"
    "const bytes = Uint8Array.from(atob(given[0]), (letter) => letter.charCodeAt(0));"
    "const bitmap = await createImageBitmap(new Blob([bytes]));"
    "const {width, height} = bitmap;"
    "const drawing = new OffscreenCanvas(width, height).getContext('2d');"
    "drawing.drawImage(bitmap, 0, 0);"
    "const pixels = drawing.getImageData(0, 0, width, height);"
    "try { return prepareEach(pixels, given[1]).map((image) => Array.from(image)); }"
    "catch (error) { return error.message; }"
)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_browser_reads_pictures_as_predict_does(page: Page, name: str) -> None:
    golden = draw_pictures(CONFIGS[name])
    assert len(golden) >= 12
    assert {len(entry.get("images", [])) for entry in golden.values()} >= {1, 2}
    for condition, entry in golden.items():
        found = page.run(READ, entry["file"], TARGETS[name])
        if "error" in entry:
            assert found == entry["error"], condition
            continue
        expected = np.array(entry["images"])
        assert np.shape(found) == expected.shape, (condition, found)
        assert np.abs(np.array(found) - expected).max() < 0.05, condition


def test_a_picture_is_dropped_pasted_or_chosen(page: Page, tmp_path: Path) -> None:
    golden = draw_pictures(CONFIGS["letters"])
    file = tmp_path / "letter.png"
    file.write_bytes(base64.b64decode(golden["ruled paper"]["file"]))
    (expected,) = np.array(golden["ruled paper"]["images"])
    for way in ("drop", "paste", "choose"):
        page.find("#clear").click()
        if way == "choose":
            page.find("#picture").send_keys(str(file))
        else:
            page.give(golden["ruled paper"]["file"], way)
        page.wait(lambda: len(page.guesses) == 3)
        np.testing.assert_allclose(page.seen / 255, expected.reshape(32, 32), atol=0.05)
    page.give(golden["two characters"]["file"], "drop")
    page.wait(lambda: page.status.startswith("2 characters."))
    assert page.guesses == []
    page.give(base64.b64encode(b"text").decode(), "drop")
    page.wait(lambda: page.status.startswith("Sorry: this file is not a picture"))
    page.draw(LETTERS["H"])
    assert len(page.guesses) == 3


def test_a_tap_and_a_picture_of_nothing_are_not_letters(page: Page) -> None:
    assert page.draw([[(20, 20)]]) == []
    assert page.status == "This is not a letter."
    blank = io.BytesIO()
    Image.new("L", (40, 40), 255).save(blank, "PNG")
    found = page.run(READ, base64.b64encode(blank.getvalue()).decode(), TARGETS["letters"])
    assert "too little contrast" in found


def test_the_policy_forbids_evaluating_text_and_requests_elsewhere(page: Page) -> None:
    assert page.find("meta[http-equiv]").get_attribute("content") == POLICY
    # In a later task, because the driver itself may evaluate text.
    later = "await new Promise((go) => setTimeout(go)); return new Function('return 1')();"
    assert "EvalError" in page.run(later)
    assert "Failed to fetch" in page.run("await fetch('http://127.0.0.1:9/');")
    messages = page.console()
    assert messages
    assert all("Content Security Policy" in line or "Refused" in line for line in messages)


def test_the_model_sees_a_letter_of_training_size_in_the_middle(page: Page) -> None:
    page.draw(LETTERS["H"])
    assert page.seen.max() == 255
    assert extent(page.seen) == pytest.approx((3 + (INK - 3) * 28 / 40, INK), abs=1.5)
    outside: Stroke = [(0, 0), (0, 60), (60, 60)]  # leaves the pad: continues on its border
    assert len(page.draw([outside])) == 3
    assert extent(page.seen) == pytest.approx((INK, INK), abs=1)


def test_position_size_and_pointer_do_not_matter(page: Page) -> None:
    guesses, seen = page.draw(LETTERS["R"]), page.seen
    assert guesses[0][1] < 90
    assert page.status == f"Not sure: {guesses[0][0]}, or perhaps {guesses[1][0]}."
    assert page.draw(LETTERS["R"], kind=POINTER_TOUCH) == guesses
    np.testing.assert_array_equal(page.seen, seen)
    for scale, at in [(8, (20, 50)), (1, (6, 6)), (2, (330, 6))]:
        moved = page.draw(LETTERS["R"], scale, at)
        assert [letter for letter, _ in moved] == [letter for letter, _ in guesses]
        assert [p for _, p in moved] == pytest.approx([p for _, p in guesses], abs=0.2)
        np.testing.assert_allclose(page.seen, seen, atol=3)


def test_the_keyboard_alone_draws_strokes_and_diagonals(page: Page) -> None:
    page.open()
    for name in ("Letters", "Digits", "Drawing pad"):
        ActionChains(page.browser).send_keys(Keys.TAB).perform()
        pad = page.browser.switch_to.active_element
        assert pad.accessible_name == name
    assert pad.aria_role == "application"
    pad.send_keys(Keys.SPACE)
    assert page.status == "The pen is down."
    pad.send_keys(*[Keys.ARROW_DOWN] * 10, *[Keys.ARROW_RIGHT] * 6, Keys.SPACE)
    pad.send_keys(*[Keys.ARROW_LEFT] * 6, Keys.SPACE, *[Keys.PAGE_UP] * 6, Keys.SPACE)
    assert len(page.guesses) == 3
    by_keyboard = page.seen
    page.draw([[(0, 0), (0, 40), (24, 40)], [(0, 40), (24, 16)]])
    np.testing.assert_allclose(by_keyboard, page.seen, atol=40)  # of 255: it has more points


def test_undo_removes_the_last_stroke_and_clear_everything(page: Page) -> None:
    page.draw(LETTERS["T"][:1])
    one_stroke, guesses = page.seen, page.guesses
    pad = page.find("#pad")
    for undo in (page.find("#undo").click, Keys.BACKSPACE, (Keys.CONTROL, "z")):
        page.draw(LETTERS["T"])
        assert (page.seen != one_stroke).any()
        undo() if callable(undo) else pad.send_keys(*undo)
        np.testing.assert_array_equal(page.seen, one_stroke)
        assert page.guesses == guesses
    for clear in (page.find("#clear").click, Keys.ESCAPE, Keys.DELETE):
        page.draw(LETTERS["T"])
        clear() if callable(clear) else pad.send_keys(clear)
        page.find("#undo").click()  # of nothing
        assert (page.seen.any(), page.guesses, page.status[:6]) == (False, [], "Ready.")


def test_the_digits_have_a_tab_whose_model_is_loaded_when_it_is_first_used(page: Page) -> None:
    page.open()
    page.draw(DIGITS["7"])
    letters, letter = page.guesses, page.seen
    assert letter.shape == (32, 32)
    for _ in range(2):
        page.find("[value=digits]").send_keys(Keys.SPACE)
        page.loaded()
        assert page.find("h1").text == "Draw a digit"
        assert pressed(page) == ["Digits"]
        assert {name for name, _ in page.guesses} < {*"0123456789"}
        rows, columns = np.indices((28, 28))
        middle = [float((axis * page.seen).sum() / page.seen.sum()) for axis in (rows, columns)]
        assert middle == pytest.approx([14, 14], abs=0.6)  # by mass, see `placement`
        page.show("letters")
        assert (page.find("h1").text, pressed(page)) == ("Draw a letter", ["Letters"])
        assert page.guesses == letters
        np.testing.assert_array_equal(page.seen, letter)
    loaded = "return performance.getEntriesByType('resource').map((entry) => entry.name);"
    addresses = page.run(loaded)
    for name in CONFIGS:
        assert sum(f"/{name}/weights.bin" in address for address in addresses) == 1
    page.open()
    assert pressed(page) == ["Letters"]
    assert not any("/digits/" in address for address in page.run(loaded))


def pressed(page: Page) -> list[str]:
    return [one.text for one in page.browser.find_elements("css selector", "[aria-pressed=true]")]


def test_a_model_that_cannot_be_loaded_is_reported(
    page: Page, random_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "letters").symlink_to(random_model / "letters")
    with serving(page.browser, tmp_path) as half:
        half.show("digits")
        assert half.status.startswith("The model could not be loaded: ")
        half.show("letters")
        assert half.status.startswith("Ready.")
        assert all("404" in line for line in half.console())
    (tmp_path / "letters").unlink()
    with serving(page.browser, tmp_path) as broken:
        assert broken.status.startswith("The model could not be loaded: ")
        assert broken.draw(LETTERS["L"]) == []
        assert all("404" in line for line in broken.console())
    page.open()
