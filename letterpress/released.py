"""Reads classifiers that `make release` published, and verifies them before they are used."""

import json
import re
from pathlib import Path

from letterpress.core.errors import PipelineError
from letterpress.fetching.fetch import File, check, download

SUMS = "SHA256SUMS"
WEIGHTS = ".weights.h5"
_MOST_BYTES = 1 << 31  # more than the weights of any network here


def read_released(name: str, address: str) -> dict[str, bytes]:
    """Reads FILE.weights.h5 of a pipeline, at a path or an http(s) address, and FILE.json beside it.

    Returns:
        The content of params.yaml, classifier.weights.h5 and calibration.json, as a project has them.

    Raises:
        PipelineError: a file is missing or is not the one that SHA256SUMS beside it lists, or the
            weights are of another pipeline.
    """
    # Not Path, which turns https:// into https:/.
    folder, file = re.split(r"(?=[^/\\]*$)", address, maxsplit=1)
    if not file.endswith(WEIGHTS):
        raise PipelineError(f"{address}: not released weights. Name a file *{WEIGHTS}")
    text = _read(folder + SUMS).decode(errors="replace")
    # sha256sum writes "HASH  FILE", and on Windows "HASH *FILE" and \r.
    lines = re.findall(r"^(\w{64}) [ *](.+?)\r?$", text, re.MULTILINE)
    sums = {listed: sha256 for sha256, listed in lines}
    described = f"{file.removesuffix(WEIGHTS)}.json"
    weights, content = (
        # Without a line in SHA256SUMS, the check fails: "expected SHA-256 in SHA256SUMS".
        check(_read(folder + listed), File(folder + listed, sums.get(listed, f"in {SUMS}")))
        for listed in (file, described)
    )
    try:
        description = json.loads(content)
        pipeline, *values = (description[key] for key in ("pipeline", "params", "calibration"))
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineError(
            f"{folder}{described}: not the description of a release ({error!r}). Use another"
        ) from error
    if pipeline != name:
        raise PipelineError(f"{address}: expected weights of {name} (got {pipeline}). Use others")
    # The params become YAML without a change: JSON is a part of it.
    params, calibration = (
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode() for value in values
    )
    return {
        "params.yaml": params,
        "classifier.weights.h5": weights,
        "calibration.json": calibration,
    }


def _read(place: str) -> bytes:
    try:
        if place.startswith(("https://", "http://")):
            return download(place, _MOST_BYTES)
        return Path(place).read_bytes()
    except OSError as error:  # those of requests too
        raise PipelineError(
            f"{place}: cannot be read ({error.strerror or error}). "
            f"Name weights that have their JSON and {SUMS} beside them"
        ) from error
