"""Where a training runs: in this process alone, or in several workers that train one model.

TF_CONFIG in the environment names the workers, each with its own index; worker 0 is the chief:

    TF_CONFIG='{"cluster": {"worker": ["host:port", "host:port"]},
                "task": {"type": "worker", "index": 0}}'
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from letterpress.core.errors import PipelineError
from letterpress.core.tensorflow import keras, tf


class Strategy:
    """Trains in this process alone."""

    is_chief = True
    """Whether this process writes files and messages."""
    n_workers = 1

    def __init__(self) -> None:
        self.distribution = tf.distribute.get_strategy()

    def prepare(self, model: Any) -> None:
        """Adapts a classifier to this worker. Call this after restoring a checkpoint."""

    def own_rows(self, batches: Any) -> Any:
        """Returns this worker's rows of a tf.data.Dataset of (images, labels, perhaps weights)."""
        return batches

    def broadcast(self, content: bytes) -> bytes:
        """Returns the chief's `content`. All workers must call this; it waits for them."""
        return content

    @contextmanager
    def reporting_lost_workers(self) -> Iterator[None]:
        """Turns TensorFlow's errors about a lost worker into a PipelineError that names it."""
        yield


class MultiWorkerStrategy(Strategy):
    """Trains one model with the other workers of TF_CONFIG, each on its rows of every batch."""

    def __init__(self, index: int, addresses: tuple[str, ...]) -> None:
        self.index, self.addresses, self.n_workers = index, addresses, len(addresses)
        self.is_chief = index == 0
        try:
            self.distribution = tf.distribute.MultiWorkerMirroredStrategy()
        except (tf.errors.OpError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise PipelineError(
                f"worker {index}: cannot join at {addresses[index]} ({reason:.200}). "
                "Check that TF_CONFIG has its address and that the port is free"
            ) from error
        if self.distribution.num_replicas_in_sync != self.n_workers:
            raise PipelineError(
                f"worker {index}: several GPUs are visible. Set CUDA_VISIBLE_DEVICES to one"
            )

    def prepare(self, model: Any) -> None:
        for layer in _list_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True  # normalize by the whole batch
            elif isinstance(layer, keras.layers.Dropout) and layer.rate:
                # Without this, all workers draw the same mask.
                layer.seed_generator.state.assign_add([self.index, 0])

    def own_rows(self, batches: Any) -> Any:
        rows = slice(self.index, None, self.n_workers)
        return batches.map(lambda *batch: tuple(part[rows] for part in batch))

    def broadcast(self, content: bytes) -> bytes:
        own = content if self.is_chief else b""
        length = int(_sum(self.distribution, tf.constant(len(own))))
        if not length:  # all_reduce fails on empty tensors
            return b""
        # all_reduce adds int32, but not bytes. The others add zeros to the chief's words.
        words = np.frombuffer(own.ljust(length + -length % 4, b"\0"), np.int32)
        return bytes(_sum(self.distribution, tf.constant(words)).numpy().tobytes()[:length])

    @contextmanager
    def reporting_lost_workers(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            if _is_local(error):
                raise
            named = {int(task) for task in re.findall(r"/task:(\d+)", str(error.message))}
            lost = sorted((named & {*range(self.n_workers)}) - {self.index})
            who = ", ".join(f"worker {index} ({self.addresses[index]})" for index in lost)
            raise PipelineError(
                f"{who or 'another worker'} of {self.n_workers}: ended or unreachable. Start all "
                "workers again: training resumes after the last epoch that the chief saved"
            ) from error


def _list_layers(model: Any) -> Iterator[Any]:
    """Yields the layers of a model and of the models in it."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _list_layers(layer)


@tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
def _sum(distribution: Any, words: Any) -> Any:
    def sum_up(words: Any) -> Any:
        words = tf.identity(words)  # all_reduce needs a tensor on this replica's device
        return tf.distribute.get_replica_context().all_reduce("SUM", words)

    return distribution.run(sum_up, args=(words,))


def join_workers(batch_size: int) -> Strategy:
    """Connects to the workers that TF_CONFIG names; without TF_CONFIG this process trains alone.

    Call this before any other TensorFlow function; the strategy cannot be created later.

    Raises:
        PipelineError: TF_CONFIG is malformed, the workers cannot share batches of this size
            equally, or this worker cannot listen at its address.
    """
    index, addresses = _read_environment()
    if len(addresses) < 2:
        return Strategy()
    if batch_size % len(addresses):
        got = f"got {batch_size} and {len(addresses)}"
        raise PipelineError(
            f"batch_size: not divisible by the number of workers ({got}). Change it"
        )
    return MultiWorkerStrategy(index, addresses)


def is_chief() -> bool:
    """Returns whether this process writes the outputs: worker 0, or a process that trains alone."""
    try:
        return _read_environment()[0] == 0
    except PipelineError:
        return True  # join_workers reports it


def _read_environment() -> tuple[int, tuple[str, ...]]:
    text = os.environ.get("TF_CONFIG")
    if not text:
        return 0, ()
    try:
        config = json.loads(text)
        addresses = tuple(config["cluster"]["worker"])
        index = config["task"]["index"]
        if config["task"]["type"] != "worker" or set(config["cluster"]) != {"worker"}:
            raise ValueError("it has jobs other than worker")
        if not all(re.fullmatch(r".+:\d{1,5}", address) for address in addresses):
            raise ValueError("an address is not host:port")
        if index not in range(len(addresses)):
            raise ValueError(f"there is no worker {index}")
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        example = '{"cluster": {"worker": ["host:port"]}, "task": {"type": "worker", "index": 0}}'
        raise PipelineError(f"TF_CONFIG: {reason}. Unset it, or write {example}") from error
    return index, addresses


def _is_local(error: Any) -> bool:
    """Returns whether an error originates in this worker: broken records, no memory, a bug."""
    names = "DataLoss InvalidArgument FailedPrecondition NotFound ResourceExhausted Unimplemented"
    causes = tuple(getattr(tf.errors, f"{name}Error") for name in names.split())
    return isinstance(error, causes) and "Collective ops is aborted" not in str(error.message)
