"""What `make release` builds, and its use from a folder and from a web server on this machine."""

import hashlib
import json
import os
import re
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from letterpress.cli import main
from letterpress.core.config import STANDARD
from letterpress.core.errors import PipelineError
from letterpress.loading import load
from tests.conftest import ROOT, Params, write_params
from tests.core.test_files import contents
from tests.pages import read_blocks
from tests.prediction.test_cli import draw
from tests.test_export import PHOTOS, save
from tests.test_pipeline import Repository
from tools.release import main as build
from tools.serve import page_files

WEIGHTS, URL = "letters.weights.h5", "https://your.host/v1.0.0/"


@pytest.fixture
def release(project: Path, tiny_params: Params) -> Path:
    """A release of random weights. The pipeline `own`, with its own architecture, is left out."""
    new = {
        key for key, value in tiny_params.items() if isinstance(value, dict) and "source" in value
    }
    kept = {key: value for key, value in tiny_params.items() if key not in new}
    shutil.copy(ROOT / STANDARD, "own.py")
    write_params(project, {**kept, "photos": PHOTOS, "own": {**PHOTOS, "architecture": "own.py"}})
    for name in ("letters", "digits", "photos", "own"):
        save(name)
    shutil.copytree(ROOT / "docs/cards", "docs/cards")
    shutil.copytree(ROOT / "web", "web", ignore=shutil.ignore_patterns("node_modules"))
    for name in ("LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, name)
    for path in page_files(Path("web"), Path("data/web/model")).values():
        if not path.exists():  # the model and TensorFlow.js
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(path.name)
    build(project / "release")
    return project / "release"


@pytest.fixture
def server(release: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a web server of the release. It sends half of each file named *.half."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(SimpleHTTPRequestHandler):
        def copyfile(self, source: Any, outputfile: Any) -> None:
            content = source.read()
            half = Path(self.translate_path(self.path) + ".half").exists()
            outputfile.write(content[: len(content) // 2] if half else content)

        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Handler, directory=str(release))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def write_sums(release: Path) -> None:
    files = sorted(path for path in release.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (release / "SHA256SUMS").write_text("".join(lines))


def test_a_release_has_the_weights_the_page_the_texts_and_their_hashes(release: Path) -> None:
    before = contents(release)
    names = [
        f"{name}.{end}"
        for name in ("digits", "letters", "photos")
        for end in ("json", "weights.h5")
    ]
    cards = [path.name for path in ROOT.glob("docs/cards/*.md")]
    assert sorted(before) == sorted([*names, *cards, "LICENSE", "NOTICE", "SHA256SUMS", "page.zip"])
    assert before[WEIGHTS] == Path("data/ascii_letter/classifier.weights.h5").read_bytes()
    with zipfile.ZipFile(release / "page.zip") as page:
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.read("index.html").decode())
        models = {f"model/{name}/weights.bin" for name in ("letters", "digits")}
        assert {*loaded, *models} < {*page.namelist()}
    write_sums(release)
    assert contents(release) == before
    os.utime("web/index.html", (0, 0))
    build(release)
    assert contents(release) == before
    Path("data/mnist/classifier.weights.h5").write_bytes(b"")
    with pytest.raises(PipelineError, match="not a classifier of digits"):
        build(release)
    assert contents(release) == before


def test_released_weights_predict_without_project_as_trained_ones_do(
    server: str,
    release: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture = str(Path(draw("photo.jpg")).absolute())
    expected = {name: load(name).predict(picture) for name in ("letters", "photos")}
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    for place in (server, f"{release}/"):
        for name, answer in expected.items():
            assert load(name, weights=f"{place}{name}.weights.h5").predict(picture) == answer
    shutil.copy(picture, "photo.jpg")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    first = expected["letters"].guesses[0]
    for words in (["--weights", server + WEIGHTS], ["--weights", str(release / WEIGHTS), "--json"]):
        monkeypatch.setattr(sys, "argv", ["letterpress", "predict", "letters", "photo.jpg", *words])
        main()
        assert first.name in capsys.readouterr().out
    for block in read_blocks(ROOT / "docs/export.md"):
        if block.section == "Use released weights":
            start = {"sh": ("sh", "-euc"), "python": ("python", "-c")}[block.language]
            printed = Repository(elsewhere).run(*start, block.text.replace(URL, server))
            assert first.name in printed
    assert {path.name for path in elsewhere.iterdir()} == {"photo.jpg"}


def edit_json(release: Path, key: str, value: Any) -> None:
    path = release / "letters.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    write_sums(release)


def replace(name: str, content: bytes) -> Callable[[Path], object]:
    def damage(release: Path) -> None:
        (release / name).write_bytes(content)
        write_sums(release)

    return damage


BAD: list[tuple[Callable[[Path], object], str]] = [
    (
        lambda release: (release / WEIGHTS).write_bytes(b"other"),
        f"{WEIGHTS}: expected SHA-256 [0-9a-f]",
    ),
    (lambda release: (release / "letters.json").write_text("{}"), "letters.json: expected SHA-256"),
    (lambda release: (release / WEIGHTS).unlink(), f"{WEIGHTS}: cannot be read"),
    (lambda release: (release / "SHA256SUMS").unlink(), "SHA256SUMS: cannot be read"),
    (lambda release: (release / "SHA256SUMS").write_bytes(b"<html>\xff"), "SHA-256 in SHA256SUMS"),
    (replace(WEIGHTS, b"<html>"), "not a classifier of letters .*signature not found"),
    (replace("letters.json", b"\xff"), "letters.json: not the description of a release"),
    (
        replace("letters.json", b'{"pipeline": "letters"}'),
        "letters.json: not the description of a release .*params",
    ),
    (lambda r: edit_json(r, "pipeline", "digits"), "expected weights of letters .got digits"),
    (lambda r: edit_json(r, "params", {"ascii_letter": {"shape": 1}}), "not a classifier .*shape"),
    (lambda r: edit_json(r, "params", {"../x": {}}), "not a classifier .*ascii_letter is missing"),
    (lambda r: edit_json(r, "calibration", {"temperature": 0}), "not a classifier .*other keys"),
]


def test_damaged_and_wrong_files_are_refused(server: str, release: Path, tmp_path: Path) -> None:
    shutil.copytree(release, tmp_path / "kept")
    for damage, message in BAD:
        damage(release)
        for place in (server, f"{release}/"):
            refused(place + WEIGHTS, message)
        shutil.rmtree(release)
        shutil.copytree(tmp_path / "kept", release)
    (release / f"{WEIGHTS}.half").touch()
    refused(server + WEIGHTS, f"{WEIGHTS}: cannot be read .*IncompleteRead")
    refused("http://127.0.0.1:1/" + WEIGHTS, "SHA256SUMS: cannot be read .*refused")
    refused("http://[/" + WEIGHTS, "SHA256SUMS: cannot be read")
    refused(server + "letters.json", "not released weights")
    refused("", "not released weights")


def refused(address: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message) as error:
        load("letters", weights=address)
    assert str(error.value).startswith(address.rpartition("/")[0])
    assert not re.search(r"\n|classifier\.weights\.h5", str(error.value))
