"""Distribution of the joint distance of several labels from the truth."""

import numpy as np
from scipy import stats

__all__ = ["joint_probability", "t_scale"]


def joint_probability(distance, n_free, dof=np.inf):
    r"""Compute the probability of a smaller distance if the claimed errors are right.

    Parameters
    ----------
    distance : array-like
        Squared Mahalanobis distances, or rises of chi2.
    n_free : array-like of int
        Number of free parameters K for each distance.
    dof : array-like, default=inf
        Degrees of freedom :math:`\nu` of the multivariate t distribution that the
        measured vector follows, with the claimed covariance; larger than 2, infinite
        for a normal distribution.

    Returns
    -------
    probability : ndarray
        Probability between 0 and 1; NaN without free parameters. It is uniform over
        many stars.

    Notes
    -----
    The distance of a normal vector follows :math:`\chi^2_K`; that of a multivariate t
    vector is :math:`K (\nu - 2) / \nu` times a variable with the distribution
    :math:`F(K, \nu)` [1]_.

    References
    ----------
    .. [1] Kotz & Nadarajah, "Multivariate t distributions and their applications",
       section 1.2, Cambridge University Press, 2004.

    Examples
    --------
    >>> from sk_payne.recovery import joint_probability
    >>> float(joint_probability(1.0, 1).round(4))
    0.6827
    >>> float(joint_probability(1.0, 1, dof=3).round(4))
    0.8183
    """
    distance, n_free, dof = np.broadcast_arrays(distance, n_free, dof)
    is_finite = np.isfinite(dof)
    nu = np.where(is_finite, dof, 1.0)
    k = np.maximum(n_free, 1)
    by_t = stats.f.cdf(t_scale(dof) ** 2 * distance / k, k, nu)
    probability = np.where(is_finite, by_t, stats.chi2.cdf(distance, k))
    return np.where(n_free > 0, probability, np.nan)


def t_scale(dof):
    """Return the standard deviation of Student's t distribution.

    Parameters
    ----------
    dof : array-like
        Degrees of freedom, larger than 2.

    Returns
    -------
    scale : ndarray
        Standard deviation; 1 for infinite degrees of freedom.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances import t_scale
    >>> t_scale([4.0, np.inf]).round(3)
    array([1.414, 1.   ])
    """
    return 1 / np.sqrt(1 - 2 / np.asarray(dof, float))
