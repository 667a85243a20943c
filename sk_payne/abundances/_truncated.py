r"""Gaussians of many parameters within a box: moments and samples.

They are the posteriors of linear models with bounds.
"""

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["BoxGaussian", "fit_box_gaussian", "sample_box_gaussian"]

# Nodes and weights of the Gauss-Legendre rule for the moments of one parameter, and
# reach of a Gaussian in standard deviations, and of the tail of one in its lengths.
_NODE, _WEIGHT = map(torch.from_numpy, np.polynomial.legendre.leggauss(48))
_REACH, _TAIL = 8.0, 40.0

# Largest number of rounds of expectation propagation, fraction of a step that is taken,
# and change of the means, in standard deviations, at which it ends.
_N_ROUNDS, _PART, _NEAR = 60, 0.7, 1e-3


@dataclass
class BoxGaussian:
    """Moments of Gaussians within boxes.

    Attributes
    ----------
    mean, variance : Tensor of shape (B, K)
        Mean and variance of each parameter.
    center : Tensor of shape (B, K)
        Mean of the Gaussian without bounds that has about the same moments.
    covariance : Tensor of shape (B, K, K)
        Covariance of that Gaussian.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    center: torch.Tensor
    covariance: torch.Tensor


def fit_box_gaussian(normal, slope, low, high):
    r"""Find the moments of Gaussians within boxes by expectation propagation.

    The density is :math:`\exp(s^T x - x^T N x / 2)` within the box, and 0 outside.
    Each pair of bounds is replaced by a Gaussian of one parameter, until that parameter
    has the same mean and variance with either [1]_.

    Parameters
    ----------
    normal : Tensor of shape (B, K, K), float64
        Matrix N, not necessarily invertible.
    slope : Tensor of shape (B, K), float64
        Vector s.
    low, high : Tensor of shape (B, K), float64
        Bounds, finite and different.

    Returns
    -------
    moments : BoxGaussian
        Moments of all Gaussians.

    References
    ----------
    .. [1] Cunningham, Hennig & Lacoste-Julien, "Gaussian probabilities and expectation
       propagation", arXiv:1111.6832, 2011.

    Examples
    --------
    Without data a parameter is uniform, with a variance of a third:

    >>> import torch
    >>> from sk_payne.abundances._truncated import fit_box_gaussian
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> moments = fit_box_gaussian(0 * one[None], 0 * one, -one, one)
    >>> round(moments.variance.item(), 4)
    0.3333
    """
    width = high - low
    precision = 12 / width**2
    pull = precision * (low + high) / 2
    for _ in range(_N_ROUNDS):
        covariance, center = _combine(normal, slope, precision, pull)
        variance = torch.diagonal(covariance, dim1=1, dim2=2)
        # Gaussian of a parameter without its own bounds
        others = (1 / variance - precision).clamp_min(1e-6 / width**2)
        middle = (center / variance - pull) / others
        mean, spread = _moments(middle, 1 / others, low, high)
        new = (1 / spread - others).clamp_min(0)
        precision = precision + _PART * (new - precision)
        pull = pull + _PART * (mean / spread - others * middle - pull)
        if ((mean - center).abs() < _NEAR * variance.sqrt()).all():
            break
    covariance, center = _combine(normal, slope, precision, pull)
    return BoxGaussian(mean, spread, center, covariance)


def _combine(normal, slope, precision, pull):
    covariance = torch.linalg.inv(normal + torch.diag_embed(precision))
    return covariance, (covariance @ (slope + pull)[..., None])[..., 0]


def _moments(mean, variance, low, high):
    """Mean and variance of Gaussians of one parameter between bounds."""
    sigma = variance.sqrt()
    top = mean.clamp(low, high)
    beyond = (mean - top).abs().clamp_min(1e-300)
    reach = torch.minimum(_REACH * sigma, _TAIL * variance / beyond)
    first = torch.maximum(low, top - reach)[..., None]
    last = torch.minimum(high, top + reach)[..., None]
    node, weight = _NODE.to(mean.device), _WEIGHT.to(mean.device)
    x = (first + last) / 2 + (last - first) / 2 * node
    log_density = -((x - mean[..., None]) ** 2) / (2 * variance[..., None])
    density = weight * (log_density - log_density.amax(-1, keepdim=True)).exp()
    density = density / density.sum(-1, keepdim=True)
    center = (density * x).sum(-1)
    return center, (density * (x - center[..., None]) ** 2).sum(-1)


def sample_box_gaussian(normal, slope, low, high, moments, draw, n, n_sweeps):
    r"""Sample Gaussians within boxes, parameter after parameter.

    Gibbs sampling [1]_ of n chains for each star, which start at samples of the
    Gaussian with the same moments.

    Parameters
    ----------
    normal, slope, low, high : Tensor
        As in `fit_box_gaussian`.
    moments : BoxGaussian
        Moments of the Gaussians, from `fit_box_gaussian`.
    draw : callable
        ``draw(*shape)`` returns uniform random numbers of the shape (B, \*shape).
    n : int
        Number of chains.
    n_sweeps : int
        Number of steps of every parameter.

    Returns
    -------
    samples : Tensor of shape (B, n, K)
        Last sample of each chain.

    References
    ----------
    .. [1] Geweke, "Efficient simulation from the multivariate normal and Student-t
       distributions subject to linear constraints", Computing Science and Statistics:
       Proc. 23rd Symp. Interface, 571, 1991.
    """
    unit = torch.special.ndtri(draw(n, low.shape[1]).clamp(1e-12, 1 - 1e-12))
    root, _ = torch.linalg.cholesky_ex(moments.covariance)
    samples = moments.center[:, None] + unit @ root.mT
    samples = samples.clamp(low[:, None], high[:, None])
    for _ in range(n_sweeps):
        uniform = draw(low.shape[1], n)
        for i in range(low.shape[1]):
            at = normal, slope, low, high, samples, i
            samples[:, :, i] = sample_one(*at, uniform[:, i])
    return samples


def sample_one(normal, slope, low, high, samples, i, uniform):
    """Sample one parameter of Gaussians within boxes, given the others.

    Parameters
    ----------
    normal, slope, low, high : Tensor
        As in `fit_box_gaussian`.
    samples : Tensor of shape (B, n, K)
        Samples of all parameters.
    i : int
        Column of the parameter.
    uniform : Tensor of shape (B, n)
        Random numbers between 0 and 1.

    Returns
    -------
    new : Tensor of shape (B, n)
        New values of the parameter.
    """
    # without data: so wide that it is uniform
    precision = normal[:, i, i, None].clamp_min(1e-9)
    sigma = precision.rsqrt()
    pushed = (samples @ normal[:, i, :, None])[..., 0] - precision * samples[:, :, i]
    mean = (slope[:, i, None] - pushed) / precision
    first, last = (low[:, i, None] - mean) / sigma, (high[:, i, None] - mean) / sigma
    # in the lower half, where small probabilities are exact
    mirror = torch.where(first + last > 0, -1.0, 1.0)
    start = torch.where(mirror > 0, first, -last)
    end = torch.where(mirror > 0, last, -first)
    below, above = (torch.erfc(-edge / 2**0.5) / 2 for edge in (start, end))
    part = below + uniform * (above - below)
    place = torch.special.ndtri(part.clamp(1e-300, 1 - 1e-16))
    # where probabilities underflow in a far tail, take its end
    place = torch.where(above > 0, torch.maximum(place, start), end)
    return mean + sigma * mirror * torch.minimum(place, end)
