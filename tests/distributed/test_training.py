"""Several real processes train one model, the same as one process trains, except for rounding."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest
import yaml

from letterpress.mnist.config import MnistConfig
from letterpress.mnist.examples import SPLITS, draw_examples
from letterpress.records.write import write_splits
from tests.conftest import ROOT, copy_project, write_digits
from tests.distributed.conftest import listening, listening_inside
from tools.workers import find_addresses

DATA = Path("data/mnist")
CHECKPOINT, WEIGHTS = DATA / "training.npz", DATA / "classifier.weights.h5"
LOSS, ACCURACY, VALIDATION_LOSS = (
    DATA / f"curves/plots/metrics/{name}.tsv" for name in ("loss", "accuracy", "validation_loss")
)

CONFIG = MnistConfig(
    n_train_samples=96,
    n_validation_samples=24,
    batch_size=24,
    max_rotation=6.0,
    feature_dropout=0.0,
    dense_dropout=0.0,  # several workers draw other masks than one
    n_epochs=3,
    learning_rate=0.0002,  # low, because Adam amplifies rounding
)
DROPPING = CONFIG.replace(feature_dropout=0.2, dense_dropout=0.3)

# One thread each, as tools.workers starts two workers on two cores: more threads round differently.
ENVIRONMENT = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1"}
STAGE = ["-m", "stages.train_mnist"]
WATCHED = """
import json, os, runpy
import numpy as np
from letterpress.training import loop
models, build = [], loop.build_classifier
loop.build_classifier = lambda config: models.append(build(config)) or models[-1]
try:
    runpy.run_module("stages.train_mnist", run_name="__main__")
finally:
    task = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))["task"]
    np.savez(f"{task['index']}.npz", **{v.path: np.asarray(v) for v in models[0].variables})
"""
"""The stage; it also saves all variables of the model that this worker trained."""
MASKS = """
import numpy as np
from letterpress.core.tensorflow import keras, tf
from letterpress.mnist.config import MnistConfig
from letterpress.model.network import build_classifier
from letterpress.training.workers import join_workers
strategy = join_workers(24)
images = tf.constant(np.random.default_rng(0).random((8, 28, 28, 1)), tf.float32)
for dropout in (0.0, 0.3):
    keras.utils.set_random_seed(1)
    with strategy.distribution.scope():
        model = build_classifier(MnistConfig(dense_dropout=dropout, feature_dropout=0.0))
    strategy.prepare(model)
    run = tf.function(lambda: strategy.distribution.run(lambda: model(images, training=True)))
    print(np.asarray(run()).tolist())
"""
"""Prints what a worker computes from the same images, without dropout and with it."""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


NETWORK: list[str] = []
"""The start of a worker's command; see the fixture `network`."""


@pytest.fixture(scope="module", autouse=True)
def _enter_network(network: list[str]) -> None:
    NETWORK[:] = network


def start(folder: Path, n: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """Starts `n` workers in a project folder; one worker has no TF_CONFIG."""
    addresses = find_addresses(n)
    workers = []
    for index in range(n):
        task = {"type": "worker", "index": index}
        config = {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}
        workers.append(
            subprocess.Popen(
                [*NETWORK, sys.executable, *arguments],
                cwd=folder,
                env=ENVIRONMENT | (config if n > 1 else {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return workers


def finish(workers: list[subprocess.Popen[str]]) -> list[Ended]:
    try:
        outputs = [worker.communicate(timeout=120) for worker in workers]
        return [Ended(w.returncode, *text) for w, text in zip(workers, outputs, strict=True)]
    finally:
        for worker in workers:
            worker.kill()


def curve(file: Path) -> list[float]:
    return [float(line.split("\t")[1]) for line in file.read_text().splitlines()[1:]]


Make = Callable[[MnistConfig], Path]


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes project folders with the same code and records."""
    digits = tmp_path_factory.mktemp("digits")
    write_digits(digits / "raw", CONFIG.n_train_samples + CONFIG.n_validation_samples)
    splits = {split: draw_examples(digits / "raw", split, CONFIG) for split in SPLITS[:2]}
    write_splits(digits / "tfrecords", splits, CONFIG)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())

    def make(config: MnistConfig) -> Path:
        folder = tmp_path_factory.mktemp("project")
        copy_project(folder, params | {"mnist": dict(config)})
        shutil.copytree(digits / "tfrecords", folder / DATA / "tfrecords")
        return folder

    return make


class Run(NamedTuple):
    folder: Path
    ended: list[Ended]
    variables: list[dict[str, Any]]
    """Of each worker, by path."""


def train(folder: Path, n: int) -> Run:
    ended = finish(start(folder, n, "-c", WATCHED))
    assert [worker.code for worker in ended] == [0] * n, ended
    variables = []
    for index in range(n):
        with np.load(folder / f"{index}.npz", allow_pickle=False) as saved:
            variables.append(dict(saved))
    return Run(folder, ended, variables)


@pytest.fixture(scope="module")
def one(new_project: Make) -> Run:
    return train(new_project(CONFIG), 1)


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def several(new_project: Make, request: pytest.FixtureRequest) -> Run:
    return train(new_project(CONFIG), request.param)


def test_several_workers_train_the_same_as_one(several: Run, one: Run) -> None:
    limits: dict[Path, Any] = {LOSS: {"rtol": 1e-3}, ACCURACY: {"atol": 0.02}}
    limits[VALIDATION_LOSS] = {"rtol": 1e-3}
    for file, limit in limits.items():
        np.testing.assert_allclose(curve(several.folder / file), curve(one.folder / file), **limit)
    chief, *others = several.variables
    for path, values in one.variables[0].items():
        # Not each value: if a gradient is almost 0, its rounding decides the direction of a step.
        difference = np.abs(chief[path] - values).mean()
        assert difference < (1e-3 if "moving" in path else 2e-5), path
        assert all(other[path].tobytes() == chief[path].tobytes() for other in others), path


def test_only_the_chief_prints_and_writes(several: Run) -> None:
    chief, *others = several.ended
    words = ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3", str(WEIGHTS)]
    assert [line.split(":")[0] for line in chief.out.splitlines()] == words
    assert chief.err == ""
    assert others == [Ended(0, "", "")] * len(others)
    made = {path.name for path in (several.folder / DATA).iterdir()}
    assert made == {"tfrecords", "curves", WEIGHTS.name, "features.weights.h5"}


def test_workers_draw_different_dropout_masks(new_project: Make) -> None:
    workers = finish(start(new_project(CONFIG), 2, "-c", MASKS))
    (same, different), (same_too, other) = (map(json.loads, w.out.splitlines()) for w in workers)
    assert same == same_too
    assert all(one != another for one, another in zip(different, other, strict=True))


class Launched(NamedTuple):
    """A project in which the launcher trained with two workers, the chief under DVC."""

    folder: Path
    inside: set[str]
    """The addresses on which something listened in the workers' own network."""
    outside: set[str]
    """The addresses of this machine on which a worker listened."""


@pytest.fixture(scope="module")
def launched(new_project: Make) -> Launched:
    folder, inside, outside = new_project(DROPPING), set[str](), set[str]()
    for arguments in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm a"):
        subprocess.run(["git", *arguments.split()], cwd=folder, check=True)
    environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    launcher = [sys.executable, "-m", "tools", "workers", "2", "train_mnist"]
    with psutil.Popen(launcher, cwd=folder, env=environment) as process:
        while process.poll() is None:
            outside |= listening(process)
            if len(process.children()) == 2:
                inside |= listening_inside(process)
            time.sleep(0.1)
    assert process.returncode == 0
    assert str(WEIGHTS) in (folder / "dvc.lock").read_text()
    return Launched(folder, inside, outside)


def test_the_workers_listen_on_all_addresses_but_no_other_machine_reaches_them(
    launched: Launched,
) -> None:
    assert launched.inside & {"0" * 8, "0" * 32}  # TensorFlow ignores the address in TF_CONFIG
    assert launched.outside == set()


def test_without_a_network_of_their_own_workers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    for path in (str(tmp_path), "/nowhere"):
        launcher = [sys.executable, "-m", "tools", "workers", "2", "train_mnist"]
        options: Any = {"cwd": ROOT, "env": {**os.environ, "PATH": path}, "text": True}
        done = subprocess.run(launcher, check=False, capture_output=True, **options)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "Add --listen-on-network if you trust" in done.stderr


def test_a_killed_worker_is_reported_and_the_training_resumes_to_the_same_bytes(
    new_project: Make, launched: Launched
) -> None:
    folder = new_project(DROPPING)
    workers = start(folder, 2, *STAGE)
    deadline = time.monotonic() + 60
    while not (folder / CHECKPOINT).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers[1].kill()
    killed = time.monotonic()
    chief, other = finish(workers)
    assert time.monotonic() - killed < 40
    assert (chief.code, other.code) == (1, -9)
    assert chief.err.startswith("error: worker 1 (127.0.0.1:")
    assert chief.err.count("\n") == 1
    assert not (folder / WEIGHTS).exists()
    resumed, other = finish(start(folder, 2, *STAGE))
    assert (resumed.code, other) == (0, Ended(0, "", "")), resumed.err
    n_done = chief.out.count("Epoch")
    assert resumed.out.startswith(
        f"{CHECKPOINT}: resuming after epoch {n_done}\nEpoch {n_done + 1}"
    )
    for file in (WEIGHTS, LOSS):
        assert (folder / file).read_bytes() == (launched.folder / file).read_bytes()
    assert not (folder / CHECKPOINT).exists()
