"""Tests of levels that must be uniform between 0 and 1: coverage and shape."""

import numpy as np
from scipy import stats

__all__ = ["REGIONS", "binomial_p", "central", "coverage", "kolmogorov_smirnov"]

# Probability of a normal variable within one and two standard deviations, by the name
# of the region.
REGIONS = {"68": 0.6827, "95": 0.9545}


def central(rank):
    """Probability of the smallest central interval that reaches a rank."""
    return np.abs(2 * rank - 1)


def coverage(level, probability):
    """Count the levels within a region, along the first axis.

    Parameters
    ----------
    level : ndarray of shape (n_stars, ...)
        Levels; NaN to leave out.
    probability : float
        Of the region.

    Returns
    -------
    count, n : ndarray of shape (...), int
        Levels within, and levels in all.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.recovery._uniformity import coverage
    >>> [int(number) for number in coverage(np.array([0.2, 0.9, np.nan]), 0.68)]
    [1, 2]
    """
    return (level < probability).sum(axis=0), np.isfinite(level).sum(axis=0)


def binomial_p(count, n, probability):
    """Two-sided p-value of a count: twice that of the nearer tail.

    Parameters
    ----------
    count, n : array-like of int
        Successes and trials.
    probability : float
        Expected for a trial.

    Returns
    -------
    p : ndarray
        At most 1.

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
    """Largest distance of the distribution of levels from the uniform, and its p-value.

    Parameters
    ----------
    level : ndarray of shape (n,)
        Levels; NaN to leave out.
    n_independent : int, default=None
        Number of independent levels, if not all are.

    Returns
    -------
    distance, p : float
        NaN and 1 without levels.

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
    found = stats.kstest(level, "uniform")
    if n_independent is None:
        return found.statistic, found.pvalue
    return found.statistic, stats.kstwo.sf(found.statistic, n_independent)
