"""Where a training step goes."""

import statistics
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from dvclive import Live

from letterpress.core.tensorflow import tf
from letterpress.mnist.config import MnistConfig
from letterpress.records.read import load_batches, stream_batches
from letterpress.training.augmentation import augmented
from letterpress.training.loop import _log
from tests.benchmarks import networks
from tests.benchmarks.conftest import Measured, Measuring
from tests.benchmarks.networks import seconds_of


def _parts(config: MnistConfig, records: Path, curves: Path) -> dict[str, Measured]:
    """Parts of a training step; each function returns the seconds that its part takes per step."""
    n_steps = config.n_train_samples // config.batch_size
    batch = next(iter(load_batches(records / "train", config)))[:2]
    data = tf.data.Dataset.from_tensors(batch).repeat()
    model = networks.compiled(config)
    step = tf.function(networks.compiled(config).train_step)
    parts: dict[str, Measured] = {
        "the whole step": lambda: networks.second_epoch(config, records, curves) / n_steps,
        "`fit` on one batch in memory": lambda: (
            networks.second_epoch_of_fit(model, config.batch_size, data, steps_per_epoch=n_steps)
            / n_steps
        ),
        "the compiled step alone, called from Python": lambda: seconds_of(
            lambda: step(batch), n_steps
        ),
    }
    for layer, of_layer in groupby(networks.operations(config), lambda one: one.name.split()[0]):
        parts[f"{layer}, forward and backward"] = partial(_in_turn, list(of_layer))
    loader = stream_batches(records / "train", config)
    for name, batches in (
        ("loader alone", loader),
        ("loader and augmentation alone", augmented(loader, config)),
    ):
        parts[name] = partial(seconds_of, partial(next, iter(batches)), n_steps)
    live = Live(str(curves / "live"), dvcyaml=None, report=None, save_dvc_exp=False)
    logs = {"accuracy": 0.5, "loss": 0.5}
    parts["DVCLive, once an epoch"] = lambda: seconds_of(lambda: _log(live, logs))
    return parts


def _in_turn(operations: Sequence[networks.Operation]) -> float:
    """Calls each operation alone; returns the seconds of all."""
    return sum(seconds_of(operation.run, 20) for operation in operations)


def test_step(
    measuring: Measuring, config: MnistConfig, records: Path, tmp_path: Path, quick: bool
) -> None:
    parts = _parts(config, records, tmp_path)
    for part in parts.values():
        part()
    n_rounds = 1 if quick else 3
    rounds = [{name: part() for name, part in parts.items()} for _ in range(n_rounds)]
    for name in parts:
        seconds = statistics.median(measured[name] for measured in rounds)
        measuring.row("step", name, {"what": name, "ms": f"{1000 * seconds:.2f}"})
