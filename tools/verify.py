"""Runs stages again and compares what they make with the committed results.

python -m tools.verify transfer_curve     # every stage but this one, in a fresh clone of HEAD
python -m tools.verify --here             # after `dvc repro`: what is computed from the weights

Data must have the same bytes on every machine. Weights may differ slightly on another processor or
number of threads. If the weights are the same, so must be everything computed from them. Otherwise
the metrics must be close, and no predictions significantly better or worse than the committed ones.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from letterpress.core.errors import PipelineError
from tools.report.revision import Revision, changes, read_folder, read_revision
from tools.report.sections import SIGNIFICANT, compare_predictions

COMPUTED = ("evaluate", "measure_conditions", "transfer_curve", "export_web")
"""The stages that compute results from trained weights, in their order."""
TRAINED = ("train_mnist", "fine_tune_ascii", *COMPUTED)
"""The stages that compute in floating point."""
TOLERANCE = 0.03  # how far a metric may be from the committed one on another machine
GAIN_TOLERANCE = 0.1  # the same for the transfer gain, the mean of a few short trainings


def compare(committed: Revision, made: Revision) -> list[str]:
    """Prints one line per stage and per metric that differs. Returns the reasons to fail."""
    failures = []
    same_weights = _outs(committed, "weights.h5") == _outs(made, "weights.h5")
    for stage in sorted(committed.stages.keys() | made.stages.keys()):
        before, after = (_outs(side, "", stage) for side in (committed, made))
        changed = ", ".join(path for path, _, _ in changes(before, after))
        print(f"{stage:30} {f'differs: {changed}' if changed else 'identical'}")
        if changed and not stage.startswith(TRAINED):
            failures.append(f"{stage}: data differs from the committed dvc.lock")
        elif changed and same_weights:
            failures.append(f"{stage}: the same weights give other results ({changed})")
    for (path, key), before, after in changes(committed.metrics, made.metrics):
        print(f"{path} {key}: {before} -> {after}")
        tolerance = GAIN_TOLERANCE if "transfer_gain" in key else TOLERANCE
        if before is None or after is None or not abs(after - before) <= tolerance:
            failures.append(f"{path}: {key} is more than {tolerance} from the committed value")
    for path, p in compare_predictions(committed, made).items():
        if p < SIGNIFICANT:
            failures.append(f"{path}: significantly other predictions (p = {p:.3g})")
    return failures


def _outs(revision: Revision, suffix: str, stage: str = "") -> dict[str, str]:
    """Returns the hashes of the outputs of one stage or of all, whose paths end so."""
    stages = [revision.stages.get(stage, {})] if stage else revision.stages.values()
    outs = [out for one in stages for out in one.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if out["path"].endswith(suffix)}


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
    parser = argparse.ArgumentParser(description="Compares HEAD with what its stages make.")
    parser.add_argument("skip", nargs="*", metavar="STAGE", help="a stage that is not run again")
    about = "run what is computed from the weights, in this workspace and not in a clone"
    parser.add_argument("--here", action="store_true", help=about)
    arguments = parser.parse_args()
    try:
        committed = read_revision("HEAD")
        if unknown := {*arguments.skip} - committed.stages.keys():
            sys.exit(f"error: {min(unknown)}: no such stage. See `dvc stage list`")
        with tempfile.TemporaryDirectory() as folder:
            root = Path() if arguments.here else Path(folder)
            if not arguments.here:
                clone(folder)
            made = reproduce(root, committed, arguments.here, arguments.skip)
            failures = compare(committed, made)
    except PipelineError as error:
        sys.exit(f"error: {error}")
    if failures:
        remedy = "Run `dvc repro --force` and commit what it changes"
        sys.exit(f"error: HEAD is not what its stages make: {'; '.join(failures)}. {remedy}")
    print("Verified.")


def reproduce(root: Path, committed: Revision, here: bool, skip: list[str]) -> Revision:
    """Runs stages even if their outputs are in the cache. Removes skipped ones from `committed`."""
    skipped = {stage: committed.stages.pop(stage)["cmd"] for stage in skip}
    stages = [stage for stage in COMPUTED if stage in committed.stages]
    what = ["--single-item", *stages] if here else committed.stages
    command = ["dvc", "repro", "--force", *what]
    if subprocess.run(command, cwd=root, check=False).returncode:
        sys.exit("error: dvc repro failed. Read the lines above")
    print("\nHEAD, reproduced, compared with the committed results:")
    made = read_folder(root)
    for stage, command_line in skipped.items():
        del made.stages[stage]
        print(f"{stage:30} skipped: {command_line}")
    return made


if __name__ == "__main__":
    main()
