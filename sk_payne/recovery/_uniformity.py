"""Tests of the uniformity of levels between 0 and 1: coverage and shape."""

import numpy as np
from scipy import stats

__all__ = ["REGIONS", "binomial_p", "central", "coverage", "kolmogorov_smirnov"]

# Probability within one and two standard deviations of a normal distribution, by the
# name of the region.
REGIONS = {"68": 0.6827, "95": 0.9545}


def central(rank):
    """Return the probability of the smallest central interval that contains a rank."""
    return np.abs(2 * rank - 1)


def coverage(level, probability):
    """Count the levels below a probability, along the first axis.

    Parameters
    ----------
    level : ndarray of shape (n_stars, ...)
        Levels; NaN are left out.
    probability : float
        Probability of the region.

    Returns
    -------
    count, n : ndarray of shape (...), int
        Number of levels in the region, and of all levels.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.recovery._uniformity import coverage
    >>> [int(number) for number in coverage(np.array([0.2, 0.9, np.nan]), 0.68)]
    [1, 2]
    """
    return (level < probability).sum(axis=0), np.isfinite(level).sum(axis=0)


def binomial_p(count, n, probability):
    """Compute the two-sided p-value of a count: twice that of the nearer tail.

    Parameters
    ----------
    count, n : array-like of int
        Number of successes and of trials.
    probability : float
        Probability of success in one trial.

    Returns
    -------
    p : ndarray
        p-value, at most 1.

    Examples
    --------
    >>> from sk_payne.recovery._uniformity import binomial_p
    >>> float(binomial_p(0, 3, 0.5))
    0.25
    """
    low = stats.binom.cdf(count, n, probability)
    high = stats.binom.sf(np.asarray(count) - 1, n, probability)
    return np.minimum(1.0, 2 * np.minimum(low, high))


def kolmogorov_smirnov(level, n_independent=None):
    """Test by Kolmogorov and Smirnov whether levels are uniform.

    Parameters
    ----------
    level : ndarray of shape (n,)
        Levels; NaN are left out.
    n_independent : int, default=None
        Number of independent levels. If None, all are independent.

    Returns
    -------
    distance, p : float
        Largest distance of the distribution of levels from the uniform one, and its
        p-value; NaN and 1 without levels.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.recovery._uniformity import kolmogorov_smirnov
    >>> distance, p = kolmogorov_smirnov(np.full(100, 0.5))
    >>> float(distance), bool(p < 1e-20)
    (0.5, True)
    """
    level = level[np.isfinite(level)]
    if not len(level):
        return np.nan, 1.0
    test = stats.kstest(level, "uniform")
    if n_independent is None:
        return test.statistic, test.pvalue
    return test.statistic, stats.kstwo.sf(test.statistic, n_independent)
