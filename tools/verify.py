"""Reproduces everything in a fresh clone of HEAD and compares it with the committed results.

The arguments are stages to skip. Data must have the same bytes on every machine. Weights and what is
computed from them may differ slightly on another processor or number of threads: then the metrics
must be close.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tools.report.revision import Revision, changes, read_folder

TRAINED = (
    "train_mnist",
    "fine_tune_ascii",
    "evaluate",
    "measure_conditions",
    "transfer_curve",
    "export_web",
)
"""The stages that compute in floating point."""
TOLERANCE = 0.03  # how far a metric may be from the committed one on another machine
GAIN_TOLERANCE = 0.1  # the same for the transfer gain, the mean of a few short trainings


def compare(committed: Revision, made: Revision) -> list[str]:
    """Prints one line per stage and per metric that differs. Returns the reasons to fail."""
    failures = []
    for stage in sorted(committed.stages.keys() | made.stages.keys()):
        before, after = (
            {out["path"]: out["md5"] for out in side.stages.get(stage, {}).get("outs", [])}
            for side in (committed, made)
        )
        changed = ", ".join(path for path, _, _ in changes(before, after))
        print(f"{stage:30} {f'differs: {changed}' if changed else 'identical'}")
        if changed and not stage.startswith(TRAINED):
            failures.append(f"{stage}: data differs from the committed dvc.lock")
    for (path, key), before, after in changes(committed.metrics, made.metrics):
        print(f"{path} {key}: {before} -> {after}")
        tolerance = GAIN_TOLERANCE if "transfer_gain" in key else TOLERANCE
        if before is None or after is None or not abs(after - before) <= tolerance:
            failures.append(f"{path}: {key} is more than {tolerance} from the committed value")
    return failures


def clone(folder: str, commit: str = "HEAD") -> None:
    """Clones the repository here. The clone shares its cache, to save disk space."""
    cache = str(Path(".dvc/cache").resolve())
    for command in (
        ["git", "clone", "--quiet", "--no-checkout", ".", folder],
        ["git", "-C", folder, "checkout", "--quiet", "--detach", commit],
        ["dvc", "--cd", folder, "cache", "dir", "--quiet", "--local", cache],
    ):
        subprocess.run(command, check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clone(folder)
        committed = read_folder(root)
        for skipped in sys.argv[1:]:
            del committed.stages[skipped]
        # `--force` runs every stage even if its outputs are in the cache.
        subprocess.run(["dvc", "repro", "--force", *committed.stages], cwd=root, check=True)
        print("\nA fresh clone of HEAD, reproduced, compared with the committed results:")
        made = read_folder(root)
        for skipped in sys.argv[1:]:
            print(f"{skipped:30} skipped: {made.stages.pop(skipped)['cmd']}")
        failures = compare(committed, made)
    if failures:
        sys.exit("error: " + "; ".join(failures))
    print("Verified.")


if __name__ == "__main__":
    main()
