"""Reads classifiers that `make release` published, and verifies them before they are used."""

import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

import requests

from letterpress.core.errors import PipelineError

SUMS = "SHA256SUMS"
WEIGHTS = ".weights.h5"
_CONNECT_AND_READ_SECONDS = (5, 30)


class Released(NamedTuple):
    """The files of a released classifier, as a project has them."""

    params: bytes  # JSON, which is YAML
    weights: bytes
    calibration: bytes


def read_released(name: str, address: str) -> Released:
    """Reads FILE.weights.h5 of a pipeline, at a path or an http(s) address, and FILE.json beside it.

    Raises:
        PipelineError: a file is missing or is not the one that SHA256SUMS beside it lists, or the
            weights are of another pipeline.
    """
    folder, file = re.split(r"(?=[^/\\]*$)", address, maxsplit=1)
    if not file.endswith(WEIGHTS):
        raise PipelineError(f"{address}: not released weights. Name a file *{WEIGHTS}")
    text = _read(folder + SUMS).decode(errors="replace")
    lines = re.findall(r"^(\w{64}) [ *](.+?)\r?$", text, re.MULTILINE)
    sums = {listed: sha256 for sha256, listed in lines}
    contents = []
    for listed in (file, f"{file.removesuffix(WEIGHTS)}.json"):
        contents.append(_read(folder + listed))
        found = hashlib.sha256(contents[-1]).hexdigest()
        if found != sums.get(listed):
            expected = sums.get(listed, f"in {SUMS}")
            raise PipelineError(
                f"{folder}{listed}: expected SHA-256 {expected} (got {found}). Download it again"
            )
    try:
        description = json.loads(contents[1])
        pipeline, *values = (description[key] for key in ("pipeline", "params", "calibration"))
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineError(
            f"{folder}{listed}: not the description of a release ({error!r}). Use another"
        ) from error
    if pipeline != name:
        raise PipelineError(f"{address}: expected weights of {name} (got {pipeline}). Use others")
    params, calibration = (
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode() for value in values
    )
    return Released(params, contents[0], calibration)


def _read(place: str) -> bytes:
    try:
        if not place.startswith(("https://", "http://")):
            return Path(place).read_bytes()
        response = requests.get(place, timeout=_CONNECT_AND_READ_SECONDS)
        response.raise_for_status()
        return response.content
    except OSError as error:  # those of requests too
        raise PipelineError(
            f"{place}: cannot be read ({error.strerror or error}). "
            f"Name weights that have their JSON and {SUMS} beside them"
        ) from error
