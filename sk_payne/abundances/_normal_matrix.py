"""Normal matrices of many stars: covariances, scales, and penalties of priors."""

import torch

__all__ = [
    "free_covariance",
    "invert_normal_matrix",
    "parameter_scale",
    "prior_penalty",
    "times",
]


def invert_normal_matrix(normal):
    """Invert normal matrices; unconstrained parameters get infinite variances.

    Parameters
    ----------
    normal : Tensor of shape (B, K, K), float64
        Normal matrices J W J^T.

    Returns
    -------
    covariance : Tensor of shape (B, K, K)
        Covariance, the inverse.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.abundances._normal_matrix import invert_normal_matrix
    >>> normal = torch.tensor([[[4.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    >>> invert_normal_matrix(normal)
    tensor([[[0.2500, 0.0000],
             [0.0000,    inf]]], dtype=torch.float64)
    """
    blind = torch.diagonal(normal, dim1=1, dim2=2) <= 0
    scale = parameter_scale(normal, torch)
    scaled = normal / (scale[:, :, None] * scale[:, None, :])
    scaled = scaled + torch.diag_embed(blind.to(scaled))
    inverse, info = torch.linalg.inv_ex(scaled)
    covariance = inverse / (scale[:, :, None] * scale[:, None, :])
    variance = torch.diagonal(covariance, dim1=1, dim2=2)
    # rounding can make the inverse of a singular matrix negative
    lost = blind | (variance <= 0) | ~torch.isfinite(variance) | (info[:, None] != 0)
    variance.masked_fill_(lost, torch.inf)
    return covariance


def free_covariance(normal, free):
    """Invert the normal matrices of the free parameters.

    Parameters
    ----------
    normal : Tensor of shape (B, K, K), float64
        Normal matrices of all parameters.
    free : Tensor of shape (B, K), bool
        Which parameters are free.

    Returns
    -------
    covariance : Tensor of shape (B, K, K), float64
        Covariances of the free parameters; zero for the others.
    """
    both = free[:, :, None] & free[:, None]
    filled = normal * both + torch.diag_embed((~free).to(normal))
    return invert_normal_matrix(filled).masked_fill(~both, 0.0)


def prior_penalty(parameters, prior):
    """Compute the penalties that Gaussian priors add to chi2.

    Parameters
    ----------
    parameters : Tensor of shape (B, K)
        Parameters of stars.
    prior : sequence of two Tensor of shape (B, K)
        Means and inverse variances.

    Returns
    -------
    penalty : Tensor of shape (B,)
        Sum of squared deviations over variances.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.abundances._normal_matrix import prior_penalty
    >>> prior_penalty(torch.tensor([[3.0]]), (torch.ones(1, 1), torch.ones(1, 1)))
    tensor([4.])
    """
    mean, weight = prior
    return (weight * (parameters - mean) ** 2).sum(1)


def parameter_scale(normal, xp):
    """Compute scales of parameters that make the diagonal of the normal matrix one.

    Parameters
    ----------
    normal : array of shape (B, K, K)
        Normal matrices J W J^T.
    xp : module
        Module of the array, numpy or torch.

    Returns
    -------
    scale : array of shape (B, K)
        Square roots of the diagonal; 1 where it is not positive.
    """
    diagonal = normal.diagonal(0, 1, 2)
    return xp.where(diagonal > 0, xp.sqrt(diagonal.clip(min=1e-300)), 1.0)


def times(matrix, vector):
    """Multiply matrices of shape (n, K, P) by vectors of shape (n, P)."""
    return (matrix @ vector[..., None])[..., 0]
