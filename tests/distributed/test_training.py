"""Several real processes train one model: it is the one that a single process trains, but for rounding."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from stages.mnist import training, write_tfrecords
from stages.mnist.backend import keras
from stages.mnist.config import MnistConfig
from stages.mnist.dataset import Part, stream_batches
from stages.mnist.errors import PipelineError
from stages.mnist.model import build_classifier
from stages.mnist.workers import is_chief, join_workers
from tests.conftest import ROOT, Params, copy_project, write_digits, write_params
from tools.workers import find_addresses

CURVES = Path("data/mnist/curves")
WEIGHTS = Path("data/mnist/classifier.weights.h5")
CHECKPOINT = Path("data/mnist/training.npz")

# One thread each, as the launcher has it on two cores: another number gives other last bits.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
STAGE = ["-m", "stages.mnist.train"]
WATCHED = """
import json, os
import numpy as np
from stages.mnist import errors, train, training
models, build = [], training.build_classifier
training.build_classifier = lambda config: models.append(build(config)) or models[-1]
try:
    errors.run(train.main, alone=train.is_chief())
finally:
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    np.savez(f"{index}.npz", **{v.path: np.asarray(v) for v in models[0].variables})
"""
"""The stage; at its end it also writes down all variables of the model that this worker trained."""


def curve(folder: Path, metric: str) -> list[float]:
    lines = (folder / "plots" / "metrics" / f"{metric}.tsv").read_text().splitlines()
    return [float(line.split("\t")[1]) for line in lines[1:]]


def start(folder: Path, n: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """Starts `n` workers in a project folder."""
    addresses = find_addresses(n)
    configs = [
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        for index in range(n)
    ]
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=ENVIRONMENT | {"TF_CONFIG": json.dumps(config)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for config in configs
    ]


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def finish(workers: list[subprocess.Popen[str]]) -> list[Ended]:
    try:
        said = [worker.communicate(timeout=120) for worker in workers]
        return [Ended(w.returncode, *words) for w, words in zip(workers, said, strict=True)]
    finally:
        for worker in workers:
            worker.kill()


class Run(NamedTuple):
    folder: Path
    ended: list[Ended]
    variables: list[dict[str, Any]]
    """Of each worker, by their path."""

    @property
    def losses(self) -> list[float]:
        return curve(self.folder / CURVES, "loss")


@pytest.fixture(scope="module")
def params(_tiny_params: Params) -> Params:
    """The project's own augmentation, dropout and optimizer, on few digits."""
    params = {**_tiny_params, "mnist": dict(_tiny_params["mnist"])}
    # The rate is low, because a step of Adam enlarges rounding as it does anything else.
    params["mnist"] |= {"n_train_samples": 96, "batch_size": 24, "n_epochs": 3}
    params["mnist"] |= {"learning_rate": 0.0002, "dense_dropout": 0.3}
    params["n_shards"] = 2
    return params


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Any:
    """Makes folders with params and records."""
    with pytest.MonkeyPatch.context() as patch:
        original = tmp_path_factory.mktemp("records")
        write_params(original, params)
        write_digits(original / "data/mnist/raw", 96, 60)
        patch.chdir(original)
        write_tfrecords.main()

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        write_params(folder, params)
        shutil.copytree(ROOT / "stages", folder / "stages")  # the chief locks its stage's code
        (folder / "data/mnist").mkdir(parents=True)
        (folder / "data/mnist/tfrecords").symlink_to(original / "data/mnist/tfrecords")
        return folder

    return make


@pytest.fixture(scope="module")
def config(new_project: Any) -> MnistConfig:
    return MnistConfig.from_yaml(new_project("config") / "params.yaml")


def train_alone(folder: Path, config: MnistConfig) -> dict[str, Any]:
    keras.utils.clear_session()  # the names of layers begin anew
    models: list[Any] = []

    def building(config: MnistConfig) -> Any:
        models.append(build_classifier(config))
        return models[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_classifier", building)
        training.train(config, folder / "data/mnist/tfrecords/train", folder / CURVES)
    return {variable.path: np.asarray(variable) for variable in models[0].variables}


@pytest.fixture(scope="module")
def one(new_project: Any, config: MnistConfig) -> Run:
    folder = new_project("one")
    return Run(folder, [], [train_alone(folder, config)])


def several(folder: Path, n: int) -> Run:
    ended = finish(start(folder, n, "-c", WATCHED))
    variables = []
    for index in range(n):
        with np.load(folder / f"{index}.npz", allow_pickle=False) as saved:
            variables.append(dict(saved))
    return Run(folder, ended, variables)


@pytest.fixture(scope="module")
def two(new_project: Any) -> Run:
    return several(new_project("two"), 2)


@pytest.fixture(scope="module")
def three(new_project: Any) -> Run:
    return several(new_project("three"), 3)


@pytest.fixture(scope="module", params=["two", "three"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue(request.param)
    return found


def test_the_loss_is_that_of_one_worker(run: Run, one: Run) -> None:
    np.testing.assert_allclose(run.losses, one.losses, rtol=1e-4)
    accuracies = curve(run.folder / CURVES, "accuracy")
    np.testing.assert_allclose(accuracies, curve(one.folder / CURVES, "accuracy"), atol=0.02)


# Batch normalization undoes the bias of a channel that is never 0: its gradient is rounding alone, and
# a step of Adam is as long as the rate, whatever the gradient. The mean moves with the bias.
UNDONE = ("features/conv2d_1/bias", "features/batch_normalization/moving_mean")


def test_the_weights_are_those_of_one_worker(run: Run, one: Run) -> None:
    for path, values in one.variables[0].items():
        atol = 5e-3 if path in UNDONE else 2e-5
        np.testing.assert_allclose(run.variables[0][path], values, atol=atol, err_msg=path)


def test_all_workers_end_with_the_same_variables(run: Run) -> None:
    chief, *others = run.variables
    for other in others:
        assert other.keys() == chief.keys()
        for path in chief:
            assert other[path].tobytes() == chief[path].tobytes(), path


def statistics(run: Run) -> dict[str, Any]:
    """What batch normalization averaged."""
    return {
        path: v for path, v in run.variables[0].items() if "moving_" in path and path not in UNDONE
    }


def test_batch_norm_is_of_all_workers_and_not_of_each_alone(
    two: Run, one: Run, config: MnistConfig, new_project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Part(0, 2)
    monkeypatch.setattr(
        training,
        "stream_batches",
        lambda records, config, _: stream_batches(records, replace(config, batch_size=24), half),
    )
    folder = new_project("half")
    unsynchronized = Run(folder, [], [train_alone(folder, config)])
    expected, found, others = map(statistics, (one, two, unsynchronized))
    assert len(expected) == 3
    for path, values in expected.items():
        distance = np.abs(found[path] - values).max()
        assert distance < 0.01 * np.abs(others[path] - values).max(), path


def test_the_chief_alone_speaks_and_writes(run: Run) -> None:
    chief, *others = run.ended
    assert chief.code == 0, chief.err
    assert [line.split(":")[0] for line in chief.out.splitlines()] == [
        *(f"Epoch {epoch}/3" for epoch in range(1, 4)),
        str(WEIGHTS),
    ]
    assert chief.err == ""
    assert others == [Ended(0, "", "")] * len(others)
    made = {path.name for path in (run.folder / "data/mnist").iterdir()}
    assert made == {"tfrecords", "curves", WEIGHTS.name, "features.weights.h5"}


def wait_for(path: Path, workers: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.01)


def test_a_killed_worker_is_named_and_the_training_goes_on_to_the_same_weights(
    two: Run, new_project: Any
) -> None:
    folder = new_project("killed")
    workers = start(folder, 2, *STAGE)
    wait_for(folder / CHECKPOINT, workers)
    workers[1].kill()
    killed = time.monotonic()
    chief, other = finish(workers)
    assert time.monotonic() - killed < 40
    assert (chief.code, other.code) == (1, -9)
    assert chief.err.count("\n") == 1
    assert chief.err.startswith("error: worker 1 (127.0.0.1:")
    n_done = int(chief.err.rpartition("the training goes on after epoch ")[2])
    assert n_done == chief.out.count("Epoch") >= 1
    assert not (folder / WEIGHTS).exists()

    assert (folder / CHECKPOINT).exists()
    again, _ = finish(start(folder, 2, *STAGE))
    assert again.code == 0, again.err
    assert again.out.startswith(f"Epoch {n_done + 1}/3")
    assert (folder / WEIGHTS).read_bytes() == (two.folder / WEIGHTS).read_bytes()
    assert curve(folder / CURVES, "loss") == two.losses
    assert not (folder / CHECKPOINT).exists()


def test_the_launcher_runs_the_chief_under_dvc(
    new_project: Any, two: Run, tmp_path: Path, params: Params
) -> None:
    folder = tmp_path / "clone"
    folder.mkdir()
    copy_project(folder, params)
    (folder / "data").mkdir()
    subprocess.run(["cp", "-RL", two.folder / "data/mnist", folder / "data"], check=True)
    for made in (CURVES, WEIGHTS):
        subprocess.run(["rm", "-r", folder / made], check=True)
    for command in (
        "git init -q",
        "git add .",
        "git -c user.name=a -c user.email=a@b commit -qm a",
    ):
        subprocess.run(command.split(), cwd=folder, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "tools.workers", "2", "train_mnist"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / WEIGHTS).read_bytes() == (two.folder / WEIGHTS).read_bytes()
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    outs = lock["stages"]["train_mnist"]["outs"]
    assert str(WEIGHTS) in {out["path"] for out in outs}


WORKER = {"type": "worker", "index": 0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting property name"),
        ("[]", "must be like"),
        ("{}", "'cluster' is missing"),
        (json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}), "'task' is missing"),
        (json.dumps({"cluster": {"worker": ["a", "b:1"]}, "task": WORKER}), "host:port"),
        (json.dumps({"cluster": {"worker": 3}, "task": WORKER}), "must be like"),
        (
            json.dumps({"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": WORKER}),
            "other jobs",
        ),
        (
            json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}),
            "no worker 1",
        ),
    ],
)
def test_a_broken_environment_is_told_of_in_one_line(
    text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    assert is_chief()
    with pytest.raises(PipelineError, match=words) as refused:
        join_workers(24)
    assert str(refused.value).startswith("TF_CONFIG")
    assert "\n" not in str(refused.value)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"worker": ["a:1", "b:1", "c:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": WORKER}))
    with pytest.raises(PipelineError, match=r"batch_size 64 .* 3 workers"):
        join_workers(64)


def test_a_cluster_of_one_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": WORKER}))
    assert join_workers(7).part == (0, 1)


@pytest.mark.parametrize("index", [0, 1])
def test_the_first_worker_is_the_chief(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": index}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert is_chief() == (index == 0)
