"""Intervals, tests and calibration, on numbers whose answer is known."""

import time

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binomtest

from letterpress.evaluation.calibration import calibration_error, fit_temperature, reliability
from letterpress.evaluation.intervals import family_interval, holm, sign_flip_test

Indexes = npt.NDArray[np.intp]


def letters(n_families: int, n_glyphs: int, n_drawings: int = 1) -> tuple[Indexes, Indexes]:
    """Returns the family and the glyph of each image. Glyphs have the same names in all families."""
    families = np.repeat(np.arange(n_families, dtype=np.intp), n_glyphs * n_drawings)
    glyphs = np.tile(np.repeat(np.arange(n_glyphs, dtype=np.intp), n_drawings), n_families)
    return families, glyphs


def test_every_family_has_the_same_weight() -> None:
    correct, families = [True] * 8 + [False] * 2, ["a"] * 8 + ["b"] * 2
    mean, low, high = family_interval(correct, families, range(10), seed=0)
    assert (mean, low, high) == (0.5, 0, 1)
    assert family_interval([True] * 10, families, range(10), seed=0) == (1, 1, 1)


def test_the_interval_contains_the_truth_in_most_simulated_test_sets() -> None:
    families, glyphs = letters(18, 52, 2)
    covered = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        of_family = random.beta(30, 1, 18).repeat(52)
        of_glyph = random.beta(of_family, 1 - of_family + 1e-9).repeat(2)  # mostly 0 or 1
        correct = random.random(len(of_glyph)) < of_glyph
        _, low, high = family_interval(correct, families, glyphs, seed=seed, n_resamples=400)
        covered.append(low <= 30 / 31 <= high)
    assert 0.91 <= np.mean(covered) <= 0.99


def test_drawings_of_a_glyph_count_once() -> None:
    random = np.random.default_rng(0)
    correct = random.random(20 * 52) < 0.9
    once = family_interval(correct, *letters(20, 52), seed=1)
    again = family_interval(correct.repeat(9), *letters(20, 52, 9), seed=1)
    assert again == pytest.approx(once)


def test_the_interval_is_reproducible_and_fast() -> None:
    families, glyphs = letters(25, 104)
    correct = np.random.default_rng(0).random(len(families)) < 0.97
    start = time.process_time()
    first = family_interval(correct, families, glyphs, seed=1)
    assert time.process_time() - start < 2
    assert family_interval(correct, families, glyphs, seed=1) == first


def test_the_sign_flip_test_is_exact() -> None:
    images = [1] * 40 + [-1] * 12 + [0] * 100
    assert sign_flip_test(images) == pytest.approx(binomtest(40, 52).pvalue)
    assert sign_flip_test([5, 3, 3]) == 2 / 8  # all plus or all minus
    assert sign_flip_test([5, -3, -3]) == 1  # no sum is nearer to zero
    assert sign_flip_test([]) == sign_flip_test([0, 0]) == sign_flip_test([2, -2]) == 1


def test_holm_multiplies_the_smallest_p_value_by_their_number() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_a_reliability_diagram_has_the_mean_the_accuracy_and_the_number_of_each_bin() -> None:
    points = reliability([0.11, 0.13, 0.9, 0.95, 1], [0, 1, 1, 1, 1], n_bins=10)
    np.testing.assert_allclose(points, [(0.12, 0.5, 2), (0.9, 1, 1), (0.975, 1, 2)])


def test_the_calibration_error_is_the_gap_between_probability_and_accuracy() -> None:
    assert calibration_error([0.75] * 4 + [1, 1], [1, 1, 1, 0, 1, 1]) == 0
    assert calibration_error([0.9] * 4, [1, 1, 0, 0]) == pytest.approx(0.4)
    # Two bins, each 0.1 off, on different sides.
    assert calibration_error([0.1, 0.1, 0.1, 0.9], [0, 0, 0, 1]) == pytest.approx(0.1)


@pytest.mark.parametrize("true", [0.5, 1.0, 1.7])
def test_the_temperature_of_simulated_logits_is_found(true: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (20_000, 5))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)  # a draw from softmax
    assert fit_temperature(logits * true + 7, labels) == pytest.approx(true, rel=0.03)
