"""The same network in plain Keras and PyTorch, and the FLOP of a training step."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from letterpress.core.tensorflow import keras, tf
from letterpress.mnist.config import MnistConfig
from letterpress.model.network import build_classifier
from letterpress.records.read import load_batches
from letterpress.training import loop


def seconds_of(
    function: Callable[[], object],
    times: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Returns the mean seconds per call, over a number of calls in a row."""
    start = clock()
    for _ in range(times):
        function()
    return (clock() - start) / times


def second_epoch(config: MnistConfig, records: Path, curves: Path) -> float:
    """Trains for two epochs as the stage does; returns the seconds of the second epoch."""
    ends: list[float] = []
    log = loop._log

    def log_and_note(live: Any, logs: dict[str, float]) -> None:
        log(live, logs)
        ends.append(time.perf_counter())

    with mock.patch.object(loop, "_log", log_and_note):
        loop.train(config, records, curves)
    return ends[1] - ends[0]


def in_memory(config: MnistConfig, records: Path) -> tuple[Any, Any]:
    """Returns all images, float32 0..1 [n, height, width, channels], and labels, int64 [n]."""
    images, labels, _ = zip(
        *load_batches(records / "train", config).as_numpy_iterator(), strict=True
    )
    return np.concatenate(images), np.concatenate(labels)


def compiled(config: MnistConfig) -> Any:
    """Returns the project's classifier, compiled with the same optimizer at a constant rate."""
    classifier = build_classifier(config)
    classifier.compile(
        keras.optimizers.get(config.optimizer),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # XLA is slower on a CPU
    )
    return classifier


def second_epoch_of_fit(classifier: Any, batch_size: int, *data: Any, **options: Any) -> float:
    """Runs Keras's fit for two epochs; returns the seconds of the second epoch."""
    ends: list[float] = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    options |= {"shuffle": False} if len(data) == 1 else {"batch_size": batch_size}
    classifier.fit(*data, epochs=2, verbose=0, callbacks=[note], **options)
    return ends[1] - ends[0]


def torch_epoch(torch: Any, config: MnistConfig, images: Any, labels: Any) -> Callable[[], float]:
    """Returns a function that trains the same network in PyTorch and returns the seconds per epoch."""
    momentum = 1 - config.batch_norm_momentum
    nn = torch.nn
    layers, before = [], config.n_channels
    for block in config.blocks:
        for number, filters in enumerate(block, 1):
            layers.append(nn.Conv2d(before, filters, 3, padding="same"))
            if number == len(block):
                layers.append(nn.MaxPool2d(2))
            layers += [nn.ReLU(), nn.BatchNorm2d(filters, momentum=momentum)]
            before = filters
    network = nn.Sequential(
        *layers,
        nn.Dropout(config.feature_dropout),
        nn.Flatten(),
        nn.Linear(n_features(config), config.dense_units),
        nn.ReLU(),
        nn.BatchNorm1d(config.dense_units, momentum=momentum),
        nn.Dropout(config.dense_dropout),
        nn.Linear(config.dense_units, config.n_classes),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    all_images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    all_labels = torch.from_numpy(labels)

    def epoch() -> None:
        for indices in torch.randperm(len(all_images)).split(config.batch_size):
            optimizer.zero_grad()
            outputs = network(all_images[indices])
            nn.functional.cross_entropy(outputs, all_labels[indices]).backward()
            optimizer.step()

    return lambda: seconds_of(epoch)


class Operation(NamedTuple):
    """A convolution or matrix product of a training step."""

    name: str
    run: Callable[[], object]
    flop: int


def operations(config: MnistConfig) -> list[Operation]:
    """Returns the convolutions and matrix products of a step, forward and backward."""
    n, shape = config.batch_size, config.image_shape
    found: list[Operation] = []
    for block in config.blocks:
        for filters in block:
            found += _convolution(f"conv{len(found) // 3 + 1}", (n, *shape), filters)
            shape = (*shape[:2], filters)
        shape = shape[0] // 2, shape[1] // 2, shape[2]
    del found[2]  # the input gradient of the images is not needed
    inputs, outputs = math.prod(shape), config.dense_units
    x, w, dy = (tf.random.normal(s) for s in ((n, inputs), (inputs, outputs), (n, outputs)))
    flop = 2 * n * inputs * outputs
    return [
        *found,
        Operation("dense forward", lambda: tf.matmul(x, w), flop),
        Operation("dense filter gradient", lambda: tf.matmul(x, dy, transpose_a=True), flop),
        Operation("dense input gradient", lambda: tf.matmul(dy, w, transpose_b=True), flop),
    ]


def n_features(config: MnistConfig) -> int:
    """Returns the number of features of an image."""
    height, width = (side >> len(config.blocks) for side in config.image_shape[:2])
    return height * width * config.blocks[-1][-1]


def _convolution(name: str, shape: tuple[int, int, int, int], filters: int) -> list[Operation]:
    n, height, width, channels = shape
    after, sizes = (n, height, width, filters), (3, 3, channels, filters)
    x, w, dy = (tf.random.normal(s) for s in (shape, sizes, after))
    ways = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    raw = tf.raw_ops
    flop = 2 * int(np.prod(after)) * 9 * channels
    return [
        Operation(f"{name} forward", lambda: tf.nn.conv2d(x, w, **ways), flop),
        Operation(
            f"{name} filter gradient",
            lambda: raw.Conv2DBackpropFilter(input=x, filter_sizes=sizes, out_backprop=dy, **ways),
            flop,
        ),
        Operation(
            f"{name} input gradient",
            lambda: raw.Conv2DBackpropInput(input_sizes=shape, filter=w, out_backprop=dy, **ways),
            flop,
        ),
    ]


def flop_per_image(config: MnistConfig) -> float:
    """Returns the FLOP per image, forward and backward."""
    return sum(operation.flop for operation in operations(config)) / config.batch_size


def peak_flops(config: MnistConfig) -> float:
    """Returns the highest FLOP/s of any operation: ten calls in a row, best of three."""
    return max(
        operation.flop / min(seconds_of(operation.run, 10) for _ in range(3))
        for operation in operations(config)
    )
