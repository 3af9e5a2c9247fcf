"""Serves the page in web/ to this machine, and to no other.

    python -m tools.serve --port 8000

Only the files of the page are served. The policy forbids it to load or send anything elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HOST = "127.0.0.1"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
"""The page states it too, for who serves it in another way; `frame-ancestors` works only from here."""
_TYPES = {
    ".bin": "application/octet-stream",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_LIBRARIES = {
    "tf-core": "tfjs-core",
    "tf-backend-cpu": "tfjs-backend-cpu",
    "tf-layers": "tfjs-layers",
}


def page_files(web: Path, model: Path) -> dict[str, Path]:
    """Returns the files of the page by their path in its address.

    Args:
        web: the page's folder, with TensorFlow.js in its node_modules.
        model: what the stage export_web makes.
    """
    files = {
        f"/{path.name}": path
        for ending in ("css", "html", "js", "svg")
        for path in web.glob(f"*.{ending}")
    }
    files["/"] = files["/index.html"]
    for name in ("model.json", "weights.bin"):
        files[f"/model/{name}"] = model / name
    for name, package in _LIBRARIES.items():
        script = f"{name}.es2017.min.js"
        files[f"/tensorflow/{script}"] = (
            web / "node_modules/@tensorflow" / package / "dist" / script
        )
    return files


def make_server(files: Mapping[str, Path], port: int) -> ThreadingHTTPServer:
    """Returns a server of these files that listens already; port 0 takes any that is free.

    Raises:
        OSError: the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = self._send_head()
            if content is not None:
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self._send_head()

        def _send_head(self) -> bytes | None:
            path = files.get(urlsplit(self.path).path)
            if path is None or not path.is_file():
                self.send_error(HTTPStatus.NOT_FOUND)
                return None
            content = path.read_bytes()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", _TYPES[path.suffix])
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            return content

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass  # errors are still told

    return ThreadingHTTPServer((HOST, port), Handler)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves the page in web/ to this machine.")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s; 0: any")
    port = parser.parse_args().port
    files = page_files(Path("web"), Path("data/web/model"))
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        sys.exit(f"error: {missing[0]} is missing: run `make serve`, it makes what the page needs")
    try:
        server = make_server(files, port)
    except (OSError, OverflowError) as error:
        sys.exit(f"error: port {port} cannot be used ({error}): try make serve PORT={port + 1}")
    print(f"Draw at http://{HOST}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()


if __name__ == "__main__":
    main()
