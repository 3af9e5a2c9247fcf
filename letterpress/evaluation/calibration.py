"""Makes probabilities true, and says from which probability a guess is sure."""

import json
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le
from pydantic import TypeAdapter

from letterpress.core.errors import PipelineError
from letterpress.core.files import write_json

Probabilities = npt.NDArray[np.float32]
"""0..1 [n, n_outputs], each row of sum 1."""

MOST_SURE = 0.9
"""No guess needs a higher probability to be sure."""
SHARE_SURE = 0.9
"""This share of the validation images of a class reaches the probability from which one is sure."""
MOST_NONE = 0.5
"""An image whose probability of no class is higher shows none: then no guess is sure."""


class Calibration(NamedTuple):
    """What turns a classifier's outputs into answers. It is fitted on the validation split."""

    temperature: Annotated[float, Ge(0.05), Le(20)] = 1.0
    """The logits are divided by it (Guo, Pleiss, Sun and Weinberger 2017). See `fit_temperature`."""
    sure: Annotated[float, Ge(0), Le(1)] = MOST_SURE
    """The probability from which a guess is sure. A sure guess can still be wrong."""

    def apply(self, probabilities: Probabilities) -> Probabilities:
        """Returns the probabilities at this temperature."""
        if self.temperature == 1:
            return probabilities
        powers = np.maximum(probabilities, 1e-30) ** (1 / self.temperature)  # 0 would stay 0
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    def are_sure(self, probabilities: Probabilities, n_classes: int) -> npt.NDArray[np.bool_]:
        """Tells for which images the most probable class is sure: bool [n]."""
        classes, none = probabilities[:, :n_classes], probabilities[:, n_classes:]
        is_none = none.sum(axis=1) > MOST_NONE
        return np.asarray((classes.max(axis=1) >= self.sure) & ~is_none)


def check_finite(probabilities: Probabilities, where: Path | str) -> None:
    """Raises a PipelineError if the outputs of the weights at a place are NaN, as sums of huge ones are."""
    if not np.isfinite(probabilities).all():
        raise PipelineError(
            f"{where}: expected finite probabilities (got NaN: the weights are too large). "
            "Train again with a lower learning_rate, or delete the weights and run `dvc repro`"
        )


_CALIBRATION = TypeAdapter(Calibration)


def fit_calibration(
    probabilities: Probabilities, labels: npt.NDArray[np.int64], n_classes: int
) -> Calibration:
    """Fits the temperature and then `sure` to a classifier's outputs on the validation split.

    `sure` is MOST_SURE, or the lower probability that SHARE_SURE of the images of a class reach.
    """
    log_probabilities = np.log(np.maximum(probabilities, 1e-30))  # log(0) is infinite
    temperature = round(fit_temperature(log_probabilities, labels), 3)  # as the file will have it
    calibrated = Calibration(temperature).apply(probabilities)
    best = calibrated[labels < n_classes, :n_classes].max(axis=1)
    sure = min(MOST_SURE, float(np.quantile(best, 1 - SHARE_SURE)))
    return Calibration(temperature, round(sure, 3))


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration as JSON."""
    write_json(path, calibration._asdict())


def read_calibration(path: Path) -> Calibration:
    """Reads a calibration.

    Raises:
        PipelineError: the file is missing or damaged.
    """
    try:
        values = json.loads(path.read_bytes())
        if list(values) != list(Calibration._fields):  # the fields have defaults
            raise ValueError("other keys")
        return _CALIBRATION.validate_python(values, strict=True)
    except FileNotFoundError as error:
        raise PipelineError(
            f"{path}: no such file. Run `dvc repro`, or `dvc pull` if there is a remote"
        ) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise PipelineError(f"{path}: damaged. Delete it and run `dvc repro`") from error


def reliability(
    probabilities: npt.ArrayLike, correct: npt.ArrayLike, n_bins: int = 15
) -> list[tuple[float, float, int]]:
    """Compares what guesses promise with what they hold: the points of a reliability diagram.

    Guesses are put into bins of equal width by their probability, (0, 1/n_bins] and so on (Guo,
    Pleiss, Sun and Weinberger 2017).

    Args:
        probabilities: the probability of each guess, 0..1 [n].
        correct: whether each guess is right [n].
        n_bins: the number of bins.

    Returns:
        The mean probability, the accuracy and the number of guesses of each bin that has any.
    """
    probabilities, correct = np.asarray(probabilities, float), np.asarray(correct, float)
    bins = np.ceil(probabilities * n_bins).astype(int)
    return [
        (float(probabilities[own].mean()), float(correct[own].mean()), int(own.sum()))
        for own in (bins == number for number in np.unique(bins))
    ]


def calibration_error(probabilities: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Computes the expected calibration error: 0 (calibrated) to 1.

    It is the mean over all guesses of |accuracy - mean probability| of the guess's bin; see
    `reliability`.
    """
    points = reliability(probabilities, correct)
    total = sum(n for _, _, n in points)
    return sum(n * abs(accuracy - mean) for mean, accuracy, n in points) / total


def fit_temperature(log_probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Fits the temperature that calibrates a classifier (Guo, Pleiss, Sun and Weinberger 2017).

    It minimizes the mean negative log likelihood of the labels under softmax(values / temperature).

    Args:
        log_probabilities: logits or log probabilities [n, n_classes].
        labels: the class of each row, 0 .. n_classes - 1 [n].

    Returns:
        The temperature, 0.05 to 20. Above 1, the classifier was too sure.
    """
    # Predictions import this file, but not SciPy's optimizer, which takes longer than they do.
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    values, labels = np.asarray(log_probabilities, float), np.asarray(labels)

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(values / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log((0.05, 20)), method="bounded").x))
