"""Serves the page in web/ on this machine: only its files, and not to other machines."""

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from letterpress.core.errors import PipelineError

HOST = "127.0.0.1"
HOST_NAMES = re.compile(rf"({re.escape(HOST)}|localhost)(:\d+)?", re.IGNORECASE)
"""A page of another site could reach this server by giving its own name this address: no answer."""
PATIENCE = 30.0  # seconds for a client to send a request, or to read an answer
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""The page has this policy too, for other servers; `frame-ancestors` works only in a header."""
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
PARTS = ("core", "backend-cpu", "layers")  # of TensorFlow.js
LIBRARIES = [f"tfjs-{part}/dist/tf-{part}.es2017.min.js" for part in PARTS]
MODELS = [f"{tab}/{end}" for tab in ("letters", "digits") for end in ("model.json", "weights.bin")]


def page_files(web: Path, model: Path) -> dict[str, Path]:
    """Returns the files of the page by the path of their URL; `model` is what export_web makes."""
    suffixes = {".css", ".html", ".js", ".svg"}
    # Without links, which may lead anywhere.
    found = (path for path in web.iterdir() if path.suffix in suffixes and not path.is_symlink())
    scripts = [web / "node_modules/@tensorflow" / library for library in LIBRARIES]
    return {
        **{f"/{path.name}": path for path in found},
        **{f"/model/{name}": model / name for name in MODELS},
        **{f"/tensorflow/{path.name}": path for path in scripts},
    }


def make_server(files: Mapping[str, Path], port: int) -> ThreadingHTTPServer:
    """Returns a listening server of these files and no others. Port 0 takes any free port."""

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = PATIENCE
        extensions_map = {  # the system's own table may name other types, which nosniff refuses
            ".css": "text/css; charset=utf-8",
            ".html": "text/html; charset=utf-8",
            ".js": "text/javascript; charset=utf-8",
        }

        def handle(self) -> None:
            try:
                super().handle()
            except OSError as error:
                print(f"a client went away ({error})", file=sys.stderr)

        def send_head(self) -> Any:  # of GET and HEAD
            if HOST_NAMES.fullmatch(self.headers["Host"] or ""):
                return super().send_head()
            address = f"http://{HOST}:{self.connection.getsockname()[1]}/"
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, f"Use {address}")
            return None

        def translate_path(self, path: str) -> str:
            name = re.split("[?#]", path)[0]
            return str(files.get("/index.html" if name == "/" else name, ""))  # else 404

        def end_headers(self) -> None:
            for name, value in HEADERS.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass  # the browser shows what is missing

    return ThreadingHTTPServer((HOST, port), Handler)


def main(port: Annotated[int, Interval(ge=0, le=65535)]) -> None:
    files = page_files(Path("web"), Path("data/web/model"))
    if missing := [path for path in files.values() if not path.is_file()]:
        raise PipelineError(f"{missing[0]}: no such file. Run `make serve`, which creates it")
    try:
        server = make_server(files, port)
    except OSError as error:
        raise PipelineError(f"port {port}: {error}. Try PORT=0 for a free one") from error
    print(f"Draw at http://{HOST}:{server.server_port}/ (stop with Ctrl-C)", flush=True)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()
