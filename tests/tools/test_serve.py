"""The server gives the files of the page and nothing else, to this machine."""

import http.client
import re
import socket
import struct
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

import psutil
import pytest

from tests.conftest import ROOT
from tools.__main__ import main
from tools.serve import HOST, POLICY, make_server, page_files


@pytest.fixture
def connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[http.client.HTTPConnection]:
    monkeypatch.setattr("tools.serve.PATIENCE", 0.5)
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits/weights.bin").write_bytes(bytes(range(256)))
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
        ("/model/digits/weights.bin", "application/octet-stream", tmp_path / "digits/weights.bin"),
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
                 "//etc/passwd", "/model/digits/golden.json", "/model/digits/model.json", "/model"):  # fmt: skip
        for method, status in (("GET", 404), ("POST", 501)):
            connection.request(method, path)
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (status, True)


def test_other_host_names_are_refused(connection: http.client.HTTPConnection) -> None:
    port = connection.port
    for host, status in (
        (f"localhost:{port}", 200),
        (f"LOCALHOST:{port}", 200),
        (f"evil.example:{port}", 421),
        (f"127.0.0.1.evil.example:{port}", 421),
        (f"evil.example@:{port}", 421),
        (f"evil.example@localhost:{port}", 421),
        ("[", 421),
        ("[127.0.0.1]", 421),
        ("", 421),
    ):
        for path in ("/", "/model/digits/weights.bin"):
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, host) == (status, host)
            assert status == 200 or answer.reason == f"Use http://{HOST}:{port}/"


def test_links_in_the_folder_are_not_served(tmp_path: Path) -> None:
    (tmp_path / "index.html").touch()
    (tmp_path / "secret.js").symlink_to("/etc/passwd")
    served = page_files(tmp_path, tmp_path)
    assert "/index.html" in served
    assert "/secret.js" not in served


def test_half_requests_end_and_lost_clients_are_one_line(
    connection: http.client.HTTPConnection, capfd: pytest.CaptureFixture[str]
) -> None:
    address = HOST, connection.port
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert client.recv(1) == b""  # the server has closed it
    assert capfd.readouterr().err == ""
    with socket.create_connection(address, timeout=10) as client:
        # Closing with SO_LINGER resets the connection while the server answers.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)
    deadline = time.monotonic() + 10
    said = ""
    while not said.endswith("\n") and time.monotonic() < deadline:
        said += capfd.readouterr().err
        time.sleep(0.01)
    assert re.fullmatch(r"a client went away \(.*\)\n", said)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the table of another process")
def test_only_this_machine_is_listened_to(connection: http.client.HTTPConnection) -> None:
    listening = [
        one.laddr for one in psutil.Process().net_connections() if one.status == psutil.CONN_LISTEN
    ]
    assert (HOST, connection.port) in listening
    assert {ip_address(address.ip).is_loopback for address in listening} == {True}


def test_errors_name_a_remedy(
    connection: http.client.HTTPConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.serve.page_files", lambda *_: {"/index.html": tmp_path / "x"})
    problems = {"x": "unable to parse", "65536": "less than or equal to 65535"}
    problems[str(connection.port)] = r"x: no such file. Run `make serve`"
    for port, problem in problems.items():
        monkeypatch.setattr(sys, "argv", ["tools", "serve", port])
        with pytest.raises(SystemExit, match=problem):
            main()
    monkeypatch.setattr(sys, "argv", ["tools", "server", "8000"])
    with pytest.raises(SystemExit, match=r"no such tool \(got 'server'\)"):
        main()
    (tmp_path / "x").touch()
    monkeypatch.setattr(sys, "argv", ["tools", "serve", str(connection.port)])
    with pytest.raises(SystemExit, match="Try PORT=0"):
        main()
