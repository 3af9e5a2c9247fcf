"""Searches for good params of the letters with Optuna (TPE), on validation images only.

python -m tools.search 30    until HEAD has 30 experiments, search-1 to search-30

Only the DVC experiments are kept, so an interrupted search resumes with the same proposals. For
another space, edit SPACE and commit it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, create_trial
from ruamel.yaml import YAML

from letterpress.core.errors import PipelineError
from tools.metrics import flatten
from tools.report.revision import git
from tools.seeds import run_experiment

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(0.0005, 0.01, log=True),
    "batch_size": CategoricalDistribution([16, 32, 64]),
    "feature_dropout": FloatDistribution(0, 0.5),
    "dense_dropout": FloatDistribution(0, 0.5),
    "max_rotation": FloatDistribution(0, 20),
    "max_shear": FloatDistribution(0, 0.5),
    "thicken": FloatDistribution(0, 1),
}
"""The values of each key of params.yaml that are tried."""
FILE, KEY = "data/ascii_letter/metrics.json", "accuracy_validation"
"""The metric that is maximized. It must not be of a test split."""


def propose(number: int, earlier: Sequence[FrozenTrial]) -> dict[str, str]:
    """Returns the params of an experiment, which depend only on its number and the earlier ones."""
    sampler = optuna.samplers.TPESampler(seed=number)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(earlier)
    params = study.ask(SPACE).params
    return {k: f"{v:.3g}" if isinstance(v, float) else str(v) for k, v in params.items()}


def read(experiment: str) -> FrozenTrial:
    """Reads the params and the metric of an experiment, from its git reference."""
    params = dict(flatten(YAML(typ="safe").load(git("show", f"{experiment}:params.yaml"))))
    value = json.loads(git("show", f"{experiment}:{FILE}"))[KEY]
    return create_trial(
        params={key: params[key] for key in SPACE}, distributions=SPACE, value=value
    )


def search(n_experiments: int) -> None:
    """Runs the experiments that HEAD does not have yet, one after the other, and prints each.

    One that fails, as after a divergence, is left out; if the first one fails, the search ends.
    """
    if git("status", "--porcelain", "--untracked-files=no"):
        raise PipelineError("workspace: uncommitted changes. Commit them")
    commit = git("rev-parse", "HEAD").decode().strip()
    trials: dict[str, FrozenTrial] = {}
    for number in range(1, n_experiments + 1):
        name = f"search-{number}"
        choose = partial(propose, number, [*trials.values()])
        try:
            trials[name] = read(run_experiment(commit, name, choose))
        except subprocess.CalledProcessError:
            if not trials:
                raise
            print(f"{name}: failed, left out", flush=True)
            continue
        values = ", ".join(f"{key}={value}" for key, value in trials[name].params.items())
        print(f"{name}: {KEY} {trials[name].value:.2%} ({values})", flush=True)
    best = max(trials, key=lambda name: trials[name].value or 0)
    print(f"\nBest on validation: {best}. Take it with `dvc exp apply {best}`")


def main() -> None:
    parser = argparse.ArgumentParser(description="Searches for good params of the letters.")
    parser.add_argument("n_experiments", type=int, help="the number of experiments, at least 1")
    n_experiments = max(1, parser.parse_args().n_experiments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        search(n_experiments)
    except (PipelineError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted: the same command resumes the search", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
