"""Searches for good params of the letters with Optuna (TPE), on validation images only.

python -m tools search 30    until HEAD has 30 experiments, search-1 to search-30
"""

import subprocess
from collections.abc import Sequence
from typing import Annotated

import optuna
from annotated_types import Ge
from dvc.utils.flatten import flatten
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from tools.repository import find_head, read_values, run_experiment

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(0.0005, 0.01, log=True),
    "batch_size": CategoricalDistribution([16, 32, 64]),
    "feature_dropout": FloatDistribution(0, 0.5),
    "dense_dropout": FloatDistribution(0, 0.5),
    "max_rotation": FloatDistribution(0, 20),
    "max_shear": FloatDistribution(0, 0.5),
    "thicken": FloatDistribution(0, 1),
}
"""The values of each key of params.yaml that are tried. For others, edit this and commit it."""
FILE, KEY = "data/ascii_letter/metrics.json", "accuracy_validation"  # not of a test split


def propose(number: int, earlier: Sequence[FrozenTrial]) -> dict[str, str]:
    """Returns the params of an experiment, which depend only on its number and the earlier ones."""
    # A seed per number: an interrupted search resumes with the same proposals.
    sampler = optuna.samplers.TPESampler(seed=number)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(earlier)
    params = study.ask(SPACE).params
    return {k: f"{v:.3g}" if isinstance(v, float) else str(v) for k, v in params.items()}


def read(experiment: str) -> FrozenTrial:
    """Reads the params and the metric of an experiment, from its git reference."""
    params = flatten(read_values(experiment, "params.yaml"))
    value = read_values(experiment, FILE)[KEY]
    return create_trial(
        params={key: params[key] for key in SPACE}, distributions=SPACE, value=value
    )


def main(n_experiments: Annotated[int, Ge(1)]) -> None:
    """Runs and prints each experiment. One that fails is left out, unless it is the first."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    commit = find_head()
    trials: dict[str, FrozenTrial] = {}
    for number in range(1, n_experiments + 1):
        name = f"search-{number}"
        params = propose(number, [*trials.values()])
        try:
            trials[name] = read(run_experiment(commit, name, ["evaluate"], params))
        except subprocess.CalledProcessError:
            if not trials:
                raise
            print(f"{name}: failed, left out", flush=True)
            continue
        values = ", ".join(f"{key}={value}" for key, value in trials[name].params.items())
        print(f"{name}: {KEY} {trials[name].value:.2%} ({values})", flush=True)
    best = max(trials, key=lambda name: trials[name].value or 0)
    print(f"\nBest on validation: {best}. Take it with `dvc exp apply {best}`")
