r"""Probability levels of the truth under claimed errors, uniform if these are right.

There are three kinds: ranks of single parameters under the claimed error, ranks among
posterior samples, and levels of credible regions around random points.
"""

import numpy as np
from scipy import stats

from sk_payne.abundances import t_scale
from sk_payne.recovery._joint_distance import whiten

__all__ = ["claimed_ranks", "sample_ranks", "tarp_levels"]

# Draws from the claimed distribution of each star.
_N_DRAWS = 200


def claimed_ranks(true, measured, error, dof=np.inf):
    """Compute the fraction of each claimed distribution that is below the truth.

    Parameters
    ----------
    true, measured, error : ndarray of shape (..., K)
        True values, measured values, and claimed standard deviations.
    dof : array-like of shape (...), default=inf
        Degrees of freedom of Student's t distribution; infinite for a normal one.

    Returns
    -------
    rank : ndarray of shape (..., K)
        Rank between 0 and 1; NaN without a measured value or a positive, finite error.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.recovery._truth_levels import claimed_ranks
    >>> claimed_ranks(np.zeros(2), np.array([0.0, 1.0]), np.ones(2)).round(4)
    array([0.5   , 0.1587])
    """
    is_claimed = np.isfinite(error) & (error > 0)
    z = np.where(is_claimed, true - measured, np.nan) / np.where(is_claimed, error, 1.0)
    # for infinite degrees of freedom, t is the normal distribution
    dof = np.asarray(dof, float)[..., None]
    return stats.t.cdf(t_scale(dof) * z, dof)


def sample_ranks(true, samples, rng):
    """Compute the fraction of the samples of each parameter that is below the truth.

    Parameters
    ----------
    true : ndarray of shape (n_stars, K)
        True values.
    samples : ndarray of shape (n_stars, n, K)
        Posterior samples; NaN for stars without data, all equal for known parameters.
    rng : numpy RandomState
        Source of the random numbers that make ranks continuous, within one step of
        1 / (n + 1).

    Returns
    -------
    rank : ndarray of shape (n_stars, K)
        Rank between 0 and 1; NaN for known parameters and for stars without data.

    Notes
    -----
    If truth and samples come from the same posterior, all n + 1 places of the truth
    among n independent samples are equally probable [1]_.

    References
    ----------
    .. [1] Talts et al., "Validating Bayesian inference algorithms with simulation-based
       calibration", arXiv:1804.06788, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.recovery._truth_levels import sample_ranks
    >>> samples = np.arange(99.0)[None, :, None]
    >>> rank = sample_ranks(np.array([[9.5]]), samples, np.random.RandomState(0))
    >>> bool(0.1 <= rank[0, 0] <= 0.11)
    True
    """
    below = (samples < true[:, None]).sum(axis=1)
    is_free = np.ptp(samples, axis=1) > 0
    return np.where(is_free & np.isfinite(true), _spread(below, samples, rng), np.nan)


def tarp_levels(true, measured, covariance, *, dof, rng, samples=None):
    r"""Compute levels of credible regions around random points that reach the truth.

    Parameters
    ----------
    true, measured : ndarray of shape (n_stars, K)
        True and measured values.
    covariance : ndarray of shape (n_stars, K, K)
        Claimed covariances.
    dof : ndarray of shape (n_stars,)
        Degrees of freedom of the claimed multivariate t distribution; infinite for a
        normal one.
    rng : numpy RandomState
        Source of the points and draws.
    samples : ndarray of shape (n_stars, n, K), default=None
        Posterior samples; None for draws from the claimed distribution.

    Returns
    -------
    level : ndarray of shape (n_stars,)
        Fraction of the samples that are nearer to the point than the truth is; NaN for
        stars without data.

    Notes
    -----
    This is TARP [1]_: if the posterior is right, regions around a point that is
    independent of the truth, given the spectrum, contain the truth as often as they
    claim. Points are drawn from the claimed distribution of the star, and distances are
    Mahalanobis distances in the claimed covariance. With 300 stars and 19 labels, these
    points nearly always reveal errors that are 20 % too small, or a wrong correlation
    of two labels; distant points seldom do.

    References
    ----------
    .. [1] Lemos et al., "Sampling-based accuracy testing of posterior estimators for
       general inference", ICML, arXiv:2302.03026, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.recovery._truth_levels import tarp_levels
    >>> rng = np.random.RandomState(0)
    >>> true, covariance = rng.standard_normal((500, 3)), np.array([np.eye(3)] * 500)
    >>> level = tarp_levels(
    ...     true, np.zeros((500, 3)), covariance, dof=np.full(500, np.inf), rng=rng
    ... )
    >>> bool(abs(np.mean(level < 0.68) - 0.68) < 0.06)
    True
    """
    whitener, is_free = whiten(true - measured, covariance)
    point = _draws(is_free, 1, dof, rng)
    if samples is None:
        draws = _draws(is_free, _N_DRAWS, dof, rng)
    else:
        draws = whitener(samples - measured[:, None])
    truth = whitener(true - measured)[:, None]
    limit = ((truth - point) ** 2).sum(axis=2)
    is_nearer = ((draws - point) ** 2).sum(axis=2) < limit
    level = _spread(is_nearer.sum(axis=1), draws, rng)
    return np.where(is_free.any(axis=1), level, np.nan)


def _draws(is_free, n, dof, rng):
    """Draw whitened errors from the claimed distribution: (n_stars, n, K)."""
    n_stars, k = is_free.shape
    normal = rng.standard_normal((n_stars, n, k)) * is_free[:, None]
    is_finite = np.isfinite(dof)
    nu = np.where(is_finite, dof, 1.0)[:, None]
    divisor = np.sqrt(rng.chisquare(nu, (n_stars, n)) / nu)
    divisor = np.where(is_finite[:, None], divisor, 1.0) * t_scale(dof)[:, None]
    return normal / divisor[..., None]


def _spread(count, samples, rng):
    """Convert counts among n samples into continuous levels."""
    return (count + rng.uniform(size=count.shape)) / (samples.shape[1] + 1)
