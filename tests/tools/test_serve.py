"""The server gives the files of the page and nothing else, to this machine."""

from __future__ import annotations

import http.client
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.conftest import ROOT
from tools.serve import HOST, POLICY, main, make_server, page_files


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)))
    server = make_server(page_files(ROOT / "web", tmp_path), 0)
    thread = Thread(target=server.serve_forever)
    thread.start()
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
    yield connection
    connection.close()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "kind", "file"),
    [
        ("/", "text/html; charset=utf-8", "index.html"),
        ("/?a=b", "text/html; charset=utf-8", "index.html"),
        ("/app.js", "text/javascript; charset=utf-8", "app.js"),
        ("/style.css", "text/css; charset=utf-8", "style.css"),
        ("/icon.svg", "image/svg+xml", "icon.svg"),
    ],
)
def test_the_files_of_the_page_come_with_type_and_policy(
    connection: http.client.HTTPConnection, path: str, kind: str, file: str
) -> None:
    content = (ROOT / "web" / file).read_bytes()
    for method, body in (("GET", content), ("HEAD", b"")):
        connection.request(method, path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, body)
        assert answer.headers["Content-Type"] == kind
        assert int(answer.headers["Content-Length"]) == len(content)
        assert answer.headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_weights_come_as_they_are(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/model/weights.bin")
    assert connection.getresponse().read() == bytes(range(256))


@pytest.mark.parametrize(
    "path",
    ["/package.json", "/../params.yaml", "/%2e%2e/params.yaml", "/node_modules/", "//etc/passwd",
     "/model/golden.json", "/model/model.json", "/model"],
)  # fmt: skip
def test_nothing_else_is_served(
    connection: http.client.HTTPConnection, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connection.request("GET", path)
    assert connection.getresponse().status == 404


def test_nothing_can_be_sent(
    connection: http.client.HTTPConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    connection.request("POST", "/", b"x")
    assert connection.getresponse().status == 501


def test_a_missing_file_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "web", tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["serve"])
    with pytest.raises(SystemExit, match="is missing: run `make serve`"):
        main()


def test_a_port_that_is_taken_is_an_error_with_a_remedy(
    connection: http.client.HTTPConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.serve.page_files", lambda *_: {})
    monkeypatch.setattr(sys, "argv", ["serve", "--port", str(connection.port)])
    with pytest.raises(SystemExit, match=f"try make serve PORT={connection.port + 1}"):
        main()
