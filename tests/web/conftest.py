"""A real Chromium that looks at the page, as it is served, and draws on it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.interaction import POINTER_MOUSE
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.support.wait import WebDriverWait

from stages.ascii_letter.config import AsciiLetterConfig
from stages.mnist.backend import keras
from stages.mnist.model import build_classifier
from stages.web.export import CLASSIFIER, MODEL, main
from tests.conftest import ROOT, Params, write_params
from tests.web.letters import Stroke
from tools.serve import HOST, make_server, page_files

Guesses = list[tuple[str, float]]


class Page:
    """The page in the browser, and what people do with it."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser = browser
        self.address = address

    def open(self) -> None:
        self.browser.get(self.address)
        WebDriverWait(self.browser, 30).until(lambda _: self.state != "loading")

    @property
    def state(self) -> str | None:
        found: str | None = self.find("body").get_attribute("data-state")
        return found

    @property
    def status(self) -> str:
        return str(self.find("#status").text)

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def run(self, script: str, *arguments: object) -> Any:
        """Runs JavaScript that may `await`, and returns what it returns."""
        return self.browser.execute_async_script(
            "const arguments_ = Array.from(arguments), done = arguments_.pop();"
            f"(async (...given) => {{ {script} }})(...arguments_)"
            ".then(done, (error) => done('error: ' + error));",
            *arguments,
        )

    def draw(
        self,
        strokes: Sequence[Stroke],
        scale: int = 8,
        at: tuple[int, int] = (40, 40),
        kind: str = POINTER_MOUSE,
    ) -> Guesses:
        """Draws with a pointer after Clear: `scale` pixels a unit of the grid, from `at` on."""
        self.find("#clear").click()
        box = self.run(
            "const b = document.getElementById('pad').getBoundingClientRect();"
            "return [Math.ceil(b.left) + 1, Math.ceil(b.top) + 1]"
        )
        for stroke in strokes:
            pointer = PointerInput(kind, kind)
            actions = ActionBuilder(self.browser, mouse=pointer, duration=0)
            places = [
                [o + a + scale * p for o, a, p in zip(box, at, point, strict=True)]
                for point in stroke
            ]
            actions.pointer_action.move_to_location(*places[0])
            actions.pointer_action.pointer_down()
            for place in places[1:]:
                actions.pointer_action.move_to_location(*place)
            actions.pointer_action.pointer_up()
            actions.perform()
        return self.guesses

    def press(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    @property
    def guesses(self) -> Guesses:
        """The letters that the page shows, and their probabilities, percent."""
        texts = [
            item.text.split() for item in self.browser.find_elements("css selector", "#guesses li")
        ]
        return [(letter, float(percent)) for letter, percent, _ in texts]

    @property
    def seen(self) -> list[int]:
        """What the model sees, 0..255, row by row."""
        pixels: list[int] = self.run(
            "const seen = document.getElementById('seen');"
            "const {data} = seen.getContext('2d').getImageData(0, 0, seen.width, seen.height);"
            "return Array.from(data).filter((_, i) => i % 4 === 0)"
        )
        return pixels

    def console(self) -> list[str]:
        """What the console was told since it was last asked."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since it was last asked."""
        events = [json.loads(e["message"])["message"] for e in self.browser.get_log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    binary = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    if not (ROOT / "web/node_modules").is_dir():
        pytest.skip("no TensorFlow.js: npm ci --ignore-scripts in web/")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.add_argument("--headless=new")
    options.add_argument("--window-size=1000,900")
    options.add_argument(f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HOST}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has none for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as started:
        yield started


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """Serves the page with a model of this folder; yields its address."""
    server = make_server(page_files(ROOT / "web", model), 0)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory, _tiny_params: Params) -> Path:
    """What the stage makes of random weights, none of them 0 or 1 as they are before training."""
    folder = tmp_path_factory.mktemp("random")
    write_params(folder, _tiny_params)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        keras.utils.set_random_seed(0)
        classifier = build_classifier(AsciiLetterConfig.from_yaml())
        random = np.random.default_rng(0)
        for weight in classifier.weights:
            if len(weight.shape) == 1:
                weight.assign(random.uniform(0.1, 1, weight.shape))
        CLASSIFIER.parent.mkdir(parents=True)
        classifier.save_weights(CLASSIFIER)
        main()
    return folder / MODEL


@pytest.fixture(scope="module")
def page(browser: Any, random_model: Path) -> Iterator[Page]:
    """The page with a model of random weights."""
    with serving(random_model) as address:
        page = Page(browser, address)
        page.open()
        yield page
        browser.get("about:blank")  # lets go of the server


@pytest.fixture(scope="module")
def trained_page(browser: Any) -> Iterator[Page]:
    """The page with the model that `dvc repro export_web` made."""
    assert (ROOT / MODEL).is_dir(), f"{MODEL} is missing: make test-web makes it"
    with serving(ROOT / MODEL) as address:
        page = Page(browser, address)
        page.open()
        yield page
        browser.get("about:blank")
