"""Mahalanobis distance of measured labels from the truth."""

import numpy as np

__all__ = ["joint_distance", "whiten"]

# Smallest eigenvalue of a correlation matrix: a smaller one is a rounding error of a
# singular covariance.
_SMALLEST = 1e-12


def joint_distance(true, measured, covariance):
    r"""Compute the squared Mahalanobis distance of measured vectors from the truth.

    .. math:: d^2 = (m - t)^T C^{-1} (m - t)

    Parameters
    ----------
    true, measured : array-like of shape (..., K)
        True and measured values.
    covariance : array-like of shape (..., K, K)
        Claimed covariance of the measured values.

    Returns
    -------
    distance : ndarray of shape (...)
        :math:`d^2` of the free parameters; NaN if there are none.
    n_free : ndarray of shape (...), int
        Number of free parameters: those with finite values and a positive, finite
        variance. Known parameters, and parameters that the data do not constrain, are
        left out; the covariance of the others is the marginal one.

    See Also
    --------
    joint_probability : Probability of a smaller distance.

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


def whiten(difference, covariance):
    """Return the linear map that makes correlated errors independent, of variance 1.

    Parameters
    ----------
    difference : ndarray of shape (..., K)
        Differences, measured - true; a parameter is left out where it is not finite.
    covariance : array-like of shape (..., K, K)
        Covariances of the errors.

    Returns
    -------
    whitener : callable
        Map of vectors of shape (..., K), or (..., n, K) for n vectors per covariance.
        Components of parameters that are left out become 0.
    is_free : ndarray of shape (..., K), bool
        True for parameters that are not left out.

    Notes
    -----
    The map is the symmetric inverse square root of the correlation matrix.

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
