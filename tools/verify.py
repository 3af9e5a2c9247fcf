"""Makes everything anew in a fresh clone of HEAD, and says stage by stage whether the bytes are the same.

Data must be the same on every machine. Weights, and what is computed from them, may differ in the
last bits on another processor or with another number of threads; then the metrics must be near.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

TRAINED = ("train_mnist", "fine_tune_ascii", "evaluate", "transfer_curve", "export_web")
"""The stages that compute in floating point."""
TOLERANCE = 0.03
"""How far a metric may be from the committed one on another machine."""
GAIN_TOLERANCE = 0.1
"""The same for what transfer gains, the mean of a few short trainings."""


def outputs(lock: Path) -> dict[str, dict[str, str]]:
    """Reads the hash of each output, by stage and path, from a dvc.lock."""
    stages: dict[str, Any] = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
    return {
        name: {out["path"]: out["md5"] for out in stage.get("outs", [])}
        for name, stage in stages.items()
    }


def compare(ours: Path, theirs: Path) -> list[str]:
    """Prints a line a stage for two folders with a dvc.lock; returns the reasons to fail."""
    failures = []
    committed, made = outputs(ours / "dvc.lock"), outputs(theirs / "dvc.lock")
    for stage in sorted(committed.keys() | made.keys()):
        before, after = committed.get(stage, {}), made.get(stage, {})
        changed = sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))
        print(f"{stage:30} {'differs: ' + ', '.join(changed) if changed else 'identical'}")
        if changed and not stage.startswith(TRAINED):
            failures.append(f"{stage} made other data than the committed dvc.lock says")
        for path in changed:
            if path.endswith("metrics.json"):
                failures += _compare_metrics(path, _read(ours / path), _read(theirs / path))
    return failures


def _compare_metrics(
    path: str, committed: Mapping[str, float], made: Mapping[str, float]
) -> list[str]:
    failures = []
    for key in sorted(committed.keys() | made.keys()):
        before, after = committed.get(key, float("nan")), made.get(key, float("nan"))
        print(f"  {path} {key}: {before} -> {after} ({after - before:+.6f})")
        tolerance = GAIN_TOLERANCE if "transfer_gain" in key else TOLERANCE
        if not abs(after - before) <= tolerance:
            failures.append(f"{path}: {key} is further than {tolerance} from the committed one")
    return failures


def _read(path: Path) -> dict[str, float]:
    """Reads a metrics file; the values of an inner mapping come under "outer.inner"."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    flat: dict[str, float] = {}
    for key, value in values.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{key}.{name}".rstrip("."): number for name, number in inner}
    return flat


def main() -> None:
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", here, clone], check=True)
        committed = Path(folder, "committed")
        subprocess.run(["git", "clone", "--quiet", here, committed], check=True)
        # What is made here need not be made again there; --force takes nothing that is there already.
        cache = here / ".dvc" / "cache"
        subprocess.run(["dvc", "cache", "dir", "--quiet", "--local", cache], cwd=clone, check=True)
        subprocess.run(["dvc", "repro", "--force"], cwd=clone, check=True)
        print("\nA fresh clone of HEAD, made anew, against what is committed:")
        failures = compare(committed, clone)
    if failures:
        sys.exit("error: " + "; ".join(failures))
    print("Verified.")


if __name__ == "__main__":
    main()
