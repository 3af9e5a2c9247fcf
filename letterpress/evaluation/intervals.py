"""Accuracy over typeface families with its interval, and tests of differences."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def family_interval(
    correct: npt.ArrayLike,
    families: npt.ArrayLike,
    glyphs: npt.ArrayLike,
    *,
    seed: int,
    n_resamples: int = 10_000,
) -> tuple[float, float, float]:
    """Computes the mean accuracy over families of equal weight, and its 95 % interval.

    The interval is the percentile interval of a two-level bootstrap (Davison and Hinkley 1997,
    section 3.8): each resample draws families, then draws the glyphs of each drawn family, both
    with replacement. All drawings of a glyph stay together: they are not independent. A bootstrap
    of the families alone is too narrow with 20 families (tests/evaluation/test_intervals.py).

    Args:
        correct: whether each image is classified correctly [n].
        families: the typeface family of each image [n].
        glyphs: the typeface and the character of each image [n].
        seed: the seed of the resampling.
        n_resamples: how often to resample.

    Returns:
        The mean and the ends of the interval, 0..1.
    """
    random = np.random.default_rng(seed)
    correct, families, glyphs = map(np.asarray, (correct, families, glyphs))
    names = np.unique(families)
    # How often each resample has each family [n_resamples, n_families].
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), n_resamples)
    means, sums = [], np.zeros(n_resamples)
    for name, times in zip(names, drawn.T, strict=True):
        of_family = families == name
        glyph = np.unique(glyphs[of_family], return_inverse=True)[1]
        n_right, n_images = np.bincount(glyph, correct[of_family]), np.bincount(glyph)
        means.append(n_right.sum() / n_images.sum())
        chosen = random.integers(len(n_images), size=(times.sum(), len(n_images)))
        accuracy = n_right[chosen].sum(axis=1) / n_images[chosen].sum(axis=1)
        # A resample that has the family twice has drawn its glyphs twice.
        sums += np.bincount(np.repeat(np.arange(n_resamples), times), accuracy, n_resamples)
    low, high = np.quantile(sums / len(names), (0.025, 0.975))
    return float(np.mean(means)), float(low), float(high)


def sign_flip_test(differences: Sequence[int]) -> float:
    """Tests whether paired differences of independent clusters are symmetric around zero.

    If nothing differs, each cluster could as well have the opposite sign (Fisher 1935, section 21).
    The distribution of the sum over all 2^n signs is exact. With one image per cluster, this is
    the exact McNemar test.

    Args:
        differences: the images won minus the images lost, of each cluster.

    Returns:
        The two-sided p value, 0..1.
    """
    sizes = [abs(int(difference)) for difference in differences if difference]
    chances = np.ones(1)  # of each sum of the sizes whose sign is plus
    for size in sizes:
        chances = (np.pad(chances, (size, 0)) + np.pad(chances, (0, size))) / 2
    # If the sizes with a plus sign add up to k, all of them add up to k - (sum(sizes) - k).
    totals = np.abs(2 * np.arange(len(chances)) - sum(sizes))
    return min(1.0, float(chances[totals >= abs(sum(differences))].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p values for their number (Holm 1979), in their order."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    # Factors fall as p grows; a larger p value must not end below a smaller one.
    corrected = np.maximum.accumulate(np.asarray(p_values)[order] * factors)
    return np.minimum(corrected, 1)[np.argsort(order)].tolist()  # type: ignore[no-any-return]
