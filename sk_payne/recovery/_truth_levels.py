r"""Where the truth lies in what was claimed, as a probability that must be uniform.

Three kinds of such levels: ranks of single parameters in the error claimed, ranks among
samples, and levels of credible regions around random points.
"""

import numpy as np
from scipy import stats

from sk_payne.recovery._joint_distance import t_scale, whiten

__all__ = ["claimed_ranks", "sample_ranks", "tarp_levels"]

# Draws of the distribution claimed for each star.
_N_DRAWS = 200


def claimed_ranks(true, measured, error, dof=np.inf):
    """Part of the distribution claimed for each parameter that is below the truth.

    Parameters
    ----------
    true, measured, error : ndarray of shape (..., K)
        Known values, measured values, and the standard deviations claimed.
    dof : array-like of shape (...), default=inf
        Degrees of freedom of Student's t; a normal distribution if infinite.

    Returns
    -------
    rank : ndarray of shape (..., K)
        Between 0 and 1; NaN where nothing, or no error, is claimed.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.recovery._truth_levels import claimed_ranks
    >>> claimed_ranks(np.zeros(2), np.array([0.0, 1.0]), np.ones(2)).round(4)
    array([0.5   , 0.1587])
    """
    is_claimed = np.isfinite(error) & (error > 0)
    z = np.where(is_claimed, true - measured, np.nan) / np.where(is_claimed, error, 1.0)
    # t of infinite degrees of freedom is the normal distribution
    dof = np.asarray(dof, float)[..., None]
    return stats.t.cdf(t_scale(dof) * z, dof)


def sample_ranks(true, samples, rng):
    """Part of the samples of each parameter that is below the truth.

    Parameters
    ----------
    true : ndarray of shape (n_stars, K)
        Known values.
    samples : ndarray of shape (n_stars, n, K)
        Of the posterior; NaN for stars without data, all alike for known parameters.
    rng : numpy RandomState
        Spreads a rank over the width of its step, so that ranks are continuous.

    Returns
    -------
    rank : ndarray of shape (n_stars, K)
        Between 0 and 1; NaN where samples say nothing.

    Notes
    -----
    Of the n + 1 places of the truth among n independent samples, each is as probable as
    any other, if truth and samples come from the same posterior [1]_.

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
    says = np.ptp(samples, axis=1) > 0
    return np.where(says & np.isfinite(true), _spread(below, samples, rng), np.nan)


def tarp_levels(true, measured, covariance, *, dof, rng, samples=None):
    r"""Levels of credible regions around random points, at whose edge the truth is.

    Parameters
    ----------
    true, measured : ndarray of shape (n_stars, K)
        Known and measured values.
    covariance : ndarray of shape (n_stars, K, K)
        Claimed covariances.
    dof : ndarray of shape (n_stars,)
        Degrees of freedom of the multivariate t distribution claimed, or infinite.
    rng : numpy RandomState
        Source of the points and draws.
    samples : ndarray of shape (n_stars, n, K), default=None
        Of the posterior; None for draws of the distribution claimed.

    Returns
    -------
    level : ndarray of shape (n_stars,)
        Part of the samples that is nearer to the point than the truth is. NaN for stars
        without data.

    Notes
    -----
    This is TARP [1]_: regions around a point that is independent of the truth, given
    the spectrum, hold the truth as often as they should, if the posterior is right.
    The points are drawn from the distribution that is claimed for the star, and
    distances are those in the covariance claimed. With 300 stars and 19 labels, such
    points show errors that are 20 % too small, or a wrong correlation of two labels,
    nearly always; points far away seldom do.

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
        near = _draws(is_free, _N_DRAWS, dof, rng)
    else:
        near = whitener(samples - measured[:, None])
    truth = whitener(true - measured)[:, None]
    limit = ((truth - point) ** 2).sum(axis=2)
    is_nearer = ((near - point) ** 2).sum(axis=2) < limit
    level = _spread(is_nearer.sum(axis=1), near, rng)
    return np.where(is_free.any(axis=1), level, np.nan)


def _draws(is_free, n, dof, rng):
    """Draws with the distribution claimed, whitened, of shape (n_stars, n, K)."""
    n_stars, k = is_free.shape
    normal = rng.standard_normal((n_stars, n, k)) * is_free[:, None]
    is_finite = np.isfinite(dof)
    nu = np.where(is_finite, dof, 1.0)[:, None]
    squeeze = np.sqrt(rng.chisquare(nu, (n_stars, n)) / nu)
    squeeze = np.where(is_finite[:, None], squeeze, 1.0) * t_scale(dof)[:, None]
    return normal / squeeze[..., None]


def _spread(count, samples, rng):
    """Turn counts of n samples into continuous levels."""
    return (count + rng.uniform(size=count.shape)) / (samples.shape[1] + 1)
