"""The server gives the files of the page and nothing else, to this machine."""

import http.client
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
    with make_server(page_files(ROOT / "web", tmp_path), 0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
        yield connection
        connection.close()
        server.shutdown()
        thread.join()


def test_the_files_of_the_page_have_type_and_policy(
    connection: http.client.HTTPConnection, tmp_path: Path
) -> None:
    for path, kind, file in (
        ("/?a=b", "text/html; charset=utf-8", ROOT / "web/index.html"),
        ("/app.js", "text/javascript; charset=utf-8", ROOT / "web/app.js"),
        ("/model/weights.bin", "application/octet-stream", tmp_path / "weights.bin"),
    ):
        for method, body in (("GET", file.read_bytes()), ("HEAD", b"")):
            connection.request(method, path)
            answer = connection.getresponse()
            found = (answer.status, answer.headers["Content-Type"], answer.read())
            assert found == (200, kind, body)
            assert answer.headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_nothing_else_is_served(connection: http.client.HTTPConnection) -> None:
    for path in ("/package.json", "/../params.yaml", "/%2e%2e/params.yaml", "/node_modules/",
                 "//etc/passwd", "/model/golden.json", "/model/model.json", "/model"):  # fmt: skip
        for method, status in (("GET", 404), ("POST", 501)):
            connection.request(method, path)
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (status, True)


def test_errors_name_a_remedy(
    connection: http.client.HTTPConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.serve.page_files", lambda *_: {"/": tmp_path / "x"})
    monkeypatch.setattr(sys, "argv", ["serve", "--port", str(connection.port)])
    with pytest.raises(SystemExit, match=r"x: no such file. Run `make serve`"):
        main()
    (tmp_path / "x").touch()
    with pytest.raises(SystemExit, match=f"Try make serve PORT={connection.port + 1}"):
        main()
