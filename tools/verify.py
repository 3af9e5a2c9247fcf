"""Runs stages again and compares what they make with the committed results.

python -m tools verify transfer_curve     # every stage but this one, in a fresh clone of HEAD
python -m tools verify --here             # after `dvc repro`: what is computed from the weights

Data must have the same bytes on every machine. Weights may differ slightly on another processor or
number of threads. If the weights are the same, so must be everything computed from them. Otherwise
the metrics must be close, and no predictions significantly better or worse than the committed ones.
"""

import subprocess
import tempfile
from pathlib import Path

from letterpress.core.errors import PipelineError
from tools.report import compare_predictions
from tools.repository import clone
from tools.revision import Revision, changes, read_folder, read_revision

COMPUTED = ("evaluate", "measure_conditions", "transfer_curve", "export_web")
"""The stages that compute results from trained weights, in their order."""
TRAINED = ("train_", "fine_tune_", *COMPUTED)
"""How the names of the stages start that compute in floating point."""
WHOLE = "accuracy", "accuracy_validation", "accuracy_unseen"  # of all images of a split
SIGNIFICANT = 0.001  # trainings of one recipe differ at 0.05 more often than by chance


def compare(committed: Revision, made: Revision) -> list[str]:
    """Prints one line per stage and per metric that differs. Returns the reasons to fail."""
    failures = []
    other = [path for path, *_ in changes(committed.hashes, made.hashes)]
    same_weights = not any(path.endswith("weights.h5") for path in other)  # then so must be all
    for stage in sorted(committed.stages.keys() | made.stages.keys()):
        outs = (side.stages.get(stage, {}).get("outs", []) for side in (committed, made))
        before, after = ({out["path"]: out["md5"] for out in listed} for listed in outs)
        changed = ", ".join(path for path, *_ in changes(before, after))
        print(f"{stage:30} {f'differs: {changed}' if changed else 'identical'}")
        if changed and not stage.startswith(TRAINED):
            failures.append(f"{stage}: data differs from the committed dvc.lock")
        elif changed and same_weights:
            failures.append(f"{stage}: the same weights give other results ({changed})")
    for (path, key), before, after in changes(committed.metrics, made.metrics):
        print(f"{path} {key}: {before} -> {after}")
        # Less certain: a few trainings, images of one kind or style, and most of all of one class.
        tolerance = 0.03 if key in WHOLE else 1 if key.startswith("recall.") else 0.1
        if before is None or after is None or not abs(after - before) <= tolerance:
            failures.append(f"{path}: {key} is more than {tolerance} from the committed value")
    for path, p in compare_predictions(committed, made).items():
        if p < SIGNIFICANT:
            failures.append(f"{path}: significantly other predictions (p = {p:.3g})")
    return failures


def main(*skip: str, here: bool = False) -> None:
    committed = read_revision("HEAD")
    if unknown := {*skip} - committed.stages.keys():
        raise PipelineError(f"{min(unknown)}: no such stage. See `dvc stage list`")
    stages = [stage for stage in committed.stages if stage not in skip]
    with tempfile.TemporaryDirectory() as folder:
        root = "." if here else folder
        if here:
            stages = ["--single-item", *(stage for stage in COMPUTED if stage in stages)]
        else:
            clone(folder)
        # Forced: outputs in the cache must not count as made.
        subprocess.run(["dvc", "repro", "--force", *stages], cwd=root, check=True)
        made = read_folder(Path(root))
    print("\nHEAD, reproduced, compared with the committed results:")
    for stage in skip:
        print(f"{stage:30} skipped: {committed.stages.pop(stage)['cmd']}")
        del made.stages[stage]
    if failures := compare(committed, made):
        remedy = "Run `dvc repro --force` and commit what it changes"
        raise PipelineError(f"HEAD is not what its stages make: {'; '.join(failures)}. {remedy}")
    print("Verified.")
