"""How far a measured vector is from the truth, in the covariance claimed for it."""

import numpy as np
from scipy import stats

__all__ = ["joint_distance", "joint_probability", "t_scale", "whiten"]

# Smallest variance of a direction, in units of the variances of its labels: a claim
# below is a rounding error of a singular covariance.
_SMALLEST = 1e-12


def joint_distance(true, measured, covariance):
    r"""Squared Mahalanobis distance of measured vectors from the truth.

    .. math:: d^2 = (m - t)^T C^{-1} (m - t)

    Parameters
    ----------
    true, measured : array-like of shape (..., K)
        Known and measured values.
    covariance : array-like of shape (..., K, K)
        Claimed for the measured values.

    Returns
    -------
    distance : ndarray of shape (...)
        :math:`d^2` of the parameters that are counted; NaN if none is.
    n_free : ndarray of shape (...), int
        Number of these: parameters with finite values and a positive, finite variance.
        Known parameters and those that the data do not see are left out; for the others
        the covariance is the marginal one.

    See Also
    --------
    joint_probability : The distribution of it.

    Examples
    --------
    >>> from sk_payne.recovery import joint_distance
    >>> distance, n_free = joint_distance([0, 0], [3, 0], [[9, 0], [0, 0]])
    >>> float(distance), int(n_free)
    (1.0, 1)
    """
    true, measured = np.asarray(true, float), np.asarray(measured, float)
    whitener, is_free = whiten(measured - true, covariance)
    n_free = is_free.sum(axis=-1)
    distance = (whitener(measured - true) ** 2).sum(axis=-1)
    return np.where(n_free > 0, distance, np.nan), n_free


def joint_probability(distance, n_free, dof=np.inf):
    r"""Probability of a smaller distance, if the errors claimed are right.

    Parameters
    ----------
    distance : array-like
        Squared Mahalanobis distances.
    n_free : array-like of int
        Number of parameters K of each.
    dof : array-like, default=inf
        Degrees of freedom :math:`\nu` of the claim. The measured vector is taken to be
        normal if they are infinite, and otherwise, above 2, to follow a multivariate t
        distribution with the covariance claimed.

    Returns
    -------
    probability : ndarray
        Between 0 and 1; NaN without free parameters. Over many stars it is uniform.

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
    found = np.where(is_finite, by_t, stats.chi2.cdf(distance, k))
    return np.where(n_free > 0, found, np.nan)


def t_scale(dof):
    """Give the standard deviation of Student's t distribution.

    Parameters
    ----------
    dof : array-like
        Degrees of freedom, more than 2.

    Returns
    -------
    scale : ndarray
        1 if they are infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.recovery._joint_distance import t_scale
    >>> t_scale([4.0, np.inf]).round(3)
    array([1.414, 1.   ])
    """
    return 1 / np.sqrt(1 - 2 / np.asarray(dof, float))


def whiten(difference, covariance):
    """Give the linear map that makes errors of a covariance independent and 1.

    Parameters
    ----------
    difference : ndarray of shape (..., K)
        Parameters whose difference is not finite are left out.
    covariance : array-like of shape (..., K, K)
        Covariances.

    Returns
    -------
    whitener : callable
        Maps vectors of shape (..., K), or several of shape (..., n, K) for each
        covariance. Components of parameters that are left out are 0.
    is_free : ndarray of shape (..., K), bool
        Parameters that are counted.

    Notes
    -----
    The map is the symmetric inverse square root of the matrix of correlations.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.recovery._joint_distance import whiten
    >>> whitener, is_free = whiten(np.zeros(2), [[4.0, 0.0], [0.0, np.inf]])
    >>> whitener(np.array([[2.0, 7.0], [4.0, 0.0]]))
    array([[1., 0.],
           [2., 0.]])
    """
    covariance = np.asarray(covariance, float)
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    is_free = np.isfinite(difference) & np.isfinite(variance) & (variance > 0)
    error = np.sqrt(np.where(is_free, variance, 1.0))
    both = is_free[..., :, None] & is_free[..., None, :]
    with np.errstate(invalid="ignore"):
        correlation = covariance / (error[..., :, None] * error[..., None, :])
    correlation = np.where(both, correlation, np.eye(error.shape[-1]))
    values, vectors = np.linalg.eigh(correlation)
    root = vectors / np.sqrt(np.maximum(values, _SMALLEST))[..., None, :]
    root = root @ np.swapaxes(vectors, -1, -2)

    def whitener(vectors):
        many = vectors.ndim > error.ndim
        free, scale = (a[..., None, :] if many else a for a in (is_free, error))
        scaled = np.where(free, vectors / scale, 0.0)
        if many:
            return scaled @ root
        return (root @ scaled[..., None])[..., 0]

    return whitener, is_free
