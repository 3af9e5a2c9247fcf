"""The page in a real Chromium, served as by `make serve`."""

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.interaction import POINTER_MOUSE
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.support.wait import WebDriverWait

from letterpress.ascii_letter.config import AsciiLetterConfig
from letterpress.core.tensorflow import keras
from letterpress.evaluation.calibration import Calibration, write_calibration
from letterpress.mnist.config import MnistConfig
from letterpress.model.network import build_classifier
from letterpress.web.export import export
from tests.conftest import ROOT
from tests.web.letters import Point, Stroke
from tools.serve import HOST, make_server, page_files

CONFIGS = {"letters": AsciiLetterConfig(), "digits": MnistConfig(none_share=0.1)}
CALIBRATION = Calibration(temperature=1.5, sure=0.6)
Guesses = list[tuple[str, float]]
SEEN = (
    "const seen = document.getElementById('seen');"
    "const {data} = seen.getContext('2d').getImageData(0, 0, seen.width, seen.height);"
    "return Array.from(data).filter((_, i) => i % 4 === 0);"
)
GIVE = (
    "const bytes = Uint8Array.from(atob(given[0]), (letter) => letter.charCodeAt(0));"
    "const data = new DataTransfer();"
    "data.items.add(new File([bytes], 'x.png', {type: 'image/png'}));"
    "const kinds = {drop: [DragEvent, 'dataTransfer'], paste: [ClipboardEvent, 'clipboardData']};"
    "const [kind, field] = kinds[given[1]];"
    "document.body.dispatchEvent(new kind(given[1], {[field]: data, bubbles: true}));"
)
GUESSES = (
    "const items = document.querySelectorAll('#guesses li');"
    "return Array.from(items, (item) => item.innerText.split(/\\s+/));"
)
CLEAR = (
    "document.getElementById('clear').click();"
    "const box = document.getElementById('pad').getBoundingClientRect();"
    "return [Math.ceil(box.left) + 1, Math.ceil(box.top) + 1];"
)


class Page:
    """The page in the browser."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address = browser, address

    def open(self) -> None:
        self.browser.get(self.address)
        self.loaded()

    def show(self, tab: str) -> None:
        """Shows the tab letters or digits, and waits for its classifier."""
        self.find(f"button[value={tab}]").click()
        self.loaded()

    def loaded(self) -> None:
        """Waits until the tab's classifier is loaded, or cannot be."""
        WebDriverWait(self.browser, 30).until(
            lambda _: self.find("body").get_attribute("data-state") != "loading"
        )

    @property
    def status(self) -> str:
        return str(self.find("#status").text)

    @property
    def guesses(self) -> Guesses:
        """The letters that the page shows, with their probabilities in percent."""
        return [(name, float(percent)) for name, percent, *_ in self.run(GUESSES)]

    @property
    def seen(self) -> Any:
        """What the model sees: 0..255 [side, side]; one black pixel if there is nothing to see."""
        values = self.run(SEEN)
        return np.reshape(values, (math.isqrt(len(values)), -1))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Waits until a condition holds, 10 s at most."""
        WebDriverWait(self.browser, 10).until(lambda _: condition())

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def run(self, script: str, *arguments: object) -> Any:
        """Runs JavaScript that may `await` and finds its arguments in `given`."""
        return self.browser.execute_async_script(
            "const all = Array.from(arguments), done = all.pop();"
            f"(async (...given) => {{ {script} }})(...all)"
            ".then(done, (error) => done('error: ' + error));",
            *arguments,
        )

    def draw(
        self,
        strokes: Sequence[Stroke],
        scale: int = 8,
        at: Point = (40, 40),
        kind: str = POINTER_MOUSE,
    ) -> Guesses:
        """Clears the pad and draws, `scale` pixels per unit of the grid, its corner at `at`."""
        left, top = self.run(CLEAR)
        actions = ActionBuilder(self.browser, mouse=PointerInput(kind, kind), duration=0)
        for stroke in strokes:
            for index, (x, y) in enumerate(stroke):
                place = left + at[0] + scale * x, top + at[1] + scale * y
                actions.pointer_action.move_to_location(*place)
                if index == 0:
                    actions.pointer_action.pointer_down()
            actions.pointer_action.pointer_up()
        actions.perform()
        return self.guesses

    def give(self, content: str, way: str) -> None:
        """Gives a file, in base64, to the page: `way` is drop or paste."""
        self.run(GIVE, content, way)

    def console(self) -> list[str]:
        """Returns the console's messages since the last call."""
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    if not (ROOT / "web/node_modules").is_dir():
        pytest.skip("no TensorFlow.js: npm ci --ignore-scripts in web/")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.add_argument("--headless=new")
    options.add_argument("--window-size=1000,1100")
    # Each move of the mouse waits for a frame.
    options.add_argument("--disable-frame-rate-limit")
    options.add_argument("--disable-gpu-vsync")
    options.add_argument(f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has none for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as started:
        yield started


@contextmanager
def serving(browser: Any, model: Path) -> Iterator[Page]:
    """Serves and opens the page with the model in a folder."""
    server = make_server(page_files(ROOT / "web", model), 0)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        page = Page(browser, f"http://{HOST}:{server.server_port}/")
        page.open()
        yield page
        browser.get("about:blank")  # closes the connections
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like that of export_web; unlike before training, no weight is 0 or 1.

    Beside it are the weights of each classifier, NAME.weights.h5, and calibration.json.
    """
    model = tmp_path_factory.mktemp("random") / "model"
    write_calibration(calibration := model.with_name("calibration.json"), CALIBRATION)
    for name, config in CONFIGS.items():
        keras.utils.set_random_seed(0)
        classifier = build_classifier(config)
        random = np.random.default_rng(0)
        for weight in classifier.weights:
            if len(weight.shape) == 1:
                weight.assign(random.uniform(0.1, 1, weight.shape))
        classifier.save_weights(weights := model.with_name(f"{name}.weights.h5"))
        export(config, weights, calibration, model / name)
    return model


@pytest.fixture(scope="module")
def page(browser: Any, random_model: Path) -> Iterator[Page]:
    """The page with random weights."""
    with serving(browser, random_model) as page:
        yield page
