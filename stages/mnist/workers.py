"""One training on several workers: who they are, what the chief tells the others, and what a loss is told as.

They are named in the environment as TensorFlow has it, each with its own index; worker 0 is the chief:

    TF_CONFIG='{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stages.mnist.backend import tf
from stages.mnist.dataset import WHOLE, Part
from stages.mnist.errors import PipelineError


class Workers(NamedTuple):
    """All workers, as one of them sees them."""

    part: Part
    """This worker's index, and how many there are."""
    addresses: tuple[str, ...]
    """host:port of each."""
    strategy: Any
    """The tf.distribute.Strategy in whose scope the model is built, and which runs its steps."""

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes and speaks."""
        return self.part.number == 0

    def from_chief(self, content: bytes) -> bytes:
        """Returns the chief's `content` to all workers; those of the others do not count.

        All of them must call it, and none returns before all have called it.
        """
        if self.part == WHOLE:
            return content
        length = int(self._from_chief(np.array([len(content)], np.int32))[0])
        if not length:  # TensorFlow cannot add up nothing
            return b""
        own = content.ljust(length)[:length] + bytes(-length % 4)
        return self._from_chief(np.frombuffer(own, np.int32)).tobytes()[:length]

    def _from_chief(self, words: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        own = words if self.is_chief else np.zeros_like(words)
        total: npt.NDArray[np.int32] = _sum(self.strategy, tf.constant(own)).numpy()
        return total

    @contextmanager
    def naming_losses(self, n_epochs: Callable[[], int]) -> Iterator[None]:
        """Turns what TensorFlow says when another worker ended into a PipelineError.

        Args:
            n_epochs: gives the number of epochs that need not be trained again.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if self.part == WHOLE or _is_of_this_worker(error):
                raise
            named = {int(task) for task in re.findall(r"/task:(\d+)", str(error.message))}
            lost = sorted((named & {*range(len(self.addresses))}) - {self.part.number})
            who = ", ".join(f"worker {index} ({self.addresses[index]})" for index in lost)
            after = f"goes on after epoch {n_epochs()}" if n_epochs() else "begins anew"
            raise PipelineError(
                f"{who or 'another worker'} of {self.part.n_parts} has ended or cannot be reached: "
                f"start all workers again: the training {after}"
            ) from error


@tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
def _sum(strategy: Any, words: Any) -> Any:
    def sum_up(words: Any) -> Any:
        placed = tf.identity(words)  # on this replica's device: all_reduce asks for one
        return tf.distribute.get_replica_context().all_reduce("SUM", placed)

    return strategy.run(sum_up, args=(words,))


def join_workers(batch_size: int) -> Workers:
    """Waits for the workers that TF_CONFIG names; without it there is this process alone.

    Call it before all else of TensorFlow: later it can no more be distributed.

    Args:
        batch_size: of all workers together.

    Raises:
        PipelineError: TF_CONFIG is not as above, the workers cannot share batches of this size
            equally, or this worker cannot listen at its address.
    """
    part, addresses = _read_environment()
    if part == WHOLE:
        return Workers(WHOLE, addresses, tf.distribute.get_strategy())
    if batch_size % part.n_parts:
        raise PipelineError(
            f"batch_size {batch_size} cannot be shared equally by {part.n_parts} workers: "
            "change either, so that it is a multiple of their number"
        )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"worker {part.number} cannot join at {addresses[part.number]} ({reason:.200}): "
            "see that TF_CONFIG has its address, and that the port is free"
        ) from error
    if strategy.num_replicas_in_sync != part.n_parts:
        raise PipelineError(
            f"worker {part.number} has several GPUs: start a worker for each, and set "
            "CUDA_VISIBLE_DEVICES to it"
        )
    return Workers(part, addresses, strategy)


def is_chief() -> bool:
    """Whether this process is the one that writes: worker 0, or alone."""
    try:
        return _read_environment()[0].number == 0
    except PipelineError:
        return True  # join_workers tells it


def _read_environment() -> tuple[Part, tuple[str, ...]]:
    text = os.environ.get("TF_CONFIG")
    if not text:
        return WHOLE, ()
    try:
        config = json.loads(text)
        addresses = tuple(config["cluster"]["worker"])
        index = config["task"]["index"]
        if config["task"]["type"] != "worker" or set(config["cluster"]) != {"worker"}:
            raise ValueError("it has other jobs than worker")
        if not all(re.fullmatch(r".+:\d{1,5}", address) for address in addresses):
            raise ValueError("an address is not host:port")
        if index not in range(len(addresses)):
            raise ValueError(f"there is no worker {index}")
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise PipelineError(
            f"TF_CONFIG in the environment: {reason}: it must be like "
            '{"cluster": {"worker": ["host:port", "host:port"]}, '
            '"task": {"type": "worker", "index": 0}}, or be unset'
        ) from error
    return Part(index, len(addresses)), addresses


def _is_of_this_worker(error: Any) -> bool:
    """Whether an error has its cause here: broken records, no memory, a fault of the program."""
    causes = (
        tf.errors.DataLossError,
        tf.errors.InvalidArgumentError,
        tf.errors.FailedPreconditionError,
        tf.errors.NotFoundError,
        tf.errors.ResourceExhaustedError,
        tf.errors.UnimplementedError,
    )
    return isinstance(error, causes) and "Collective ops is aborted" not in str(error.message)
