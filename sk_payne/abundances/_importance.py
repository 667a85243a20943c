r"""Importance sampling of the posterior around a best fit.

It takes some hundred model spectra per star where a Markov chain takes 100 000. It
serves labels at bounds or with weak lines, whose chi2 is not a parabola.
"""

import numpy as np
import torch

from sk_payne.abundances._normal_matrix import prior_penalty
from sk_payne.abundances._second_order import SecondOrder, spectra_at
from sk_payne.abundances._truncated import fit_box_gaussian, sample_box_gaussian

__all__ = ["Samples", "sample_by_importance"]

# Moves of the center of the parabola to the mean within the bounds, and the fraction of
# the way that moves after the first one take.
_N_MOVES, _PART = 2, 0.5

# Number of samples of the parabola, and Gibbs steps of each parameter per sample.
_N_LINEAR, _LINEAR_SWEEPS = 2048, 8

# Effective number of samples below which a star is sampled again around its mean, and
# largest number of repetitions.
_FEW, _N_AGAIN = 40.0, 2

# Numbers in memory for the stars that are sampled together: 256 MB.
_MEMORY = 2**25


class Samples:
    """Weighted samples of B stars.

    Attributes
    ----------
    samples : Tensor of shape (B, n, K)
        Samples in the parameters of the model.
    weight : Tensor of shape (B, n)
        Weights of the samples; their sum is 1.
    n_effective : Tensor of shape (B,)
        Effective number of samples.
    """

    def __init__(self, samples, weight):
        self.samples, self.weight = samples, weight

    @property
    def n_effective(self):
        """Effective number of samples: inverse of the sum of squared weights."""
        return 1 / (self.weight**2).sum(1)

    @property
    def mean(self):
        """Means, of shape (B, K)."""
        return (self.weight[..., None] * self.samples).sum(1)

    @property
    def covariance(self):
        """Covariances of shape (B, K, K), the error of the means included."""
        off = self.samples - self.mean[:, None]
        total = off.mT @ (self.weight[..., None] * off)
        n = self.n_effective.clamp_min(2.0)
        return total * (n / (n - 1) * (1 + 1 / n))[:, None, None]

    def quantile(self, part):
        """Quantiles of shape (B, K), with the fraction `part` of the weight below."""
        value, order = self.samples.sort(dim=1)
        weight = self.weight[..., None].expand_as(value).gather(1, order)
        # each sample stands in the middle of its weight
        below = weight.cumsum(1) - weight / 2
        place = (below < part).sum(1, keepdim=True).clamp(1, value.shape[1] - 1)
        left, right = (below.gather(1, place - i) for i in (1, 0))
        start, end = (value.gather(1, place - i) for i in (1, 0))
        along = ((part - left) / (right - left).clamp_min(1e-300)).clamp(0, 1)
        return (start + along * (end - start))[:, 0]

    def displaced(self, displacements, low, high):
        """Add a further error to samples, within bounds.

        Parameters
        ----------
        displacements : Tensor of shape (B, n, K)
            Draws of the error. Their mean is removed: means do not change.
        low, high : Tensor of shape (B, K)
            Bounds.

        Returns
        -------
        displaced : Samples
            Displaced samples with the same weights.
        """
        mean = (self.weight[..., None] * displacements).sum(1, keepdim=True)
        moved = self.samples + displacements - mean
        moved = torch.minimum(torch.maximum(moved, low[:, None]), high[:, None])
        return Samples(moved, self.weight)

    def draw(self, n, uniform):
        """Draw samples of equal weight, of shape (B, n, K), by one random number."""
        chosen = _systematic(self.weight, n, uniform)[..., None]
        return self.samples.gather(1, chosen.expand(-1, -1, self.samples.shape[2]))


@torch.no_grad()
def sample_by_importance(model, flux, ivar, start, low, high, prior, *, n, seeds):
    r"""Sample the posterior of stars around their best fits.

    The density is :math:`e^{-\chi^2/2}` times priors within the bounds. Three models of
    it, each sampled with the help of the one before:

    1. chi2 is the parabola of a model that is linear around a point, which is moved to
       the mean of the density within the bounds;
    2. flux is a polynomial of second order in all parameters, through spectra one
       standard deviation from there along every parameter and every pair of them;
    3. flux is that of the model: samples of 2 are weighted by the ratio of the
       densities of 3 and 2 (importance sampling [1]_).

    From 1 to 2, samples are drawn by their weights and then moved: parameter by
    parameter, as 1 proposes and 2 accepts [2]_, and together, by differences between
    other samples [3]_. Where the weights of 3 leave few effective samples, the star is
    sampled again around the mean of the first samples.

    Parameters
    ----------
    model : object
        Model with ``flux(rows, parameters)`` and ``linearize(rows, parameters)``, as
        for `fit_least_squares`.
    flux, ivar : Tensor of shape (B, P)
        Observations and inverse variances.
    start : Tensor of shape (B, K), float64
        Best fits.
    low, high : Tensor of shape (B, K), float64
        Bounds; equal for fixed parameters.
    prior : tuple of Tensor of shape (B, K), float64
        Means and inverse variances.
    n : int
        Number of samples per star.
    seeds : list of int
        Seeds of the random numbers of each star.

    Returns
    -------
    samples : Samples
        Weighted samples of all stars.

    References
    ----------
    .. [1] Kloek & van Dijk, "Bayesian estimates of equation system parameters: an
       application of integration by Monte Carlo", Econometrica 46, 1, 1978.
    .. [2] Liu, "Monte Carlo strategies in scientific computing", section 9.4.3
       (surrogate transition), Springer, 2001.
    .. [3] Ter Braak, "A Markov chain Monte Carlo version of the genetic algorithm
       Differential Evolution", Statistics and Computing 16, 239, 2006.
    """
    n_pixels, n_parameters = flux.shape[1], start.shape[1]
    n_terms = n_parameters * (n_parameters + 3) // 2
    step = max(1, _MEMORY // (n_terms * max(n_pixels, _N_LINEAR)))
    stars = torch.arange(len(start), device=start.device)
    samples = start.new_empty(len(start), n, n_parameters)
    weight = start.new_empty(len(start), n)
    problem = model, flux, ivar, low, high, prior
    for rows in stars.split(step):
        best, rngs = None, [np.random.default_rng(seeds[i]) for i in rows.tolist()]
        around = start[rows]
        # stars that are still sampled
        left = torch.arange(len(rows), device=rows.device)
        for _ in range(1 + _N_AGAIN):
            draw = _Draw([rngs[i] for i in left.tolist()], start)
            new = _sample(problem, rows[left], around[left], n, draw)
            best = new if best is None else _better(best, new, left)
            left = torch.nonzero(best.n_effective < _FEW)[:, 0]
            around = best.mean
            if not len(left):
                break
        samples[rows], weight[rows] = best.samples, best.weight
    return Samples(samples, weight)


class _Draw:
    """Random numbers of stars that are sampled together, each with its own seed."""

    def __init__(self, rngs, like):
        self.rngs, self.like = rngs, like

    def __call__(self, *shape):
        return torch.from_numpy(np.stack([r.random(shape) for r in self.rngs])).to(
            self.like
        )


def _better(before, new, rows):
    """Replace samples of stars by those with a larger effective number."""
    better = new.n_effective > before.n_effective[rows]
    samples, weight = before.samples.clone(), before.weight.clone()
    samples[rows[better]] = new.samples[better]
    weight[rows[better]] = new.weight[better]
    return Samples(samples, weight)


def _sample(problem, rows, start, n, draw):
    """Sample some stars once."""
    _, flux, _, low, high, prior = problem
    low, high = low[rows], high[rows]
    free = low < high
    center = start.clamp(low, high)
    # fixed parameters get a range, so that matrices are not singular, but do not move
    edges = torch.where(free, low, center - 1), torch.where(free, high, center + 1)
    shift, part = torch.zeros_like(center), 1.0
    for _ in range(1 + _N_MOVES):
        center = center + shift
        bounds = [edge - center for edge in edges]
        normal, slope, chi2 = _parabola(problem, rows, center, free)
        gaussian = fit_box_gaussian(normal, slope, *bounds)
        shift, part = part * gaussian.mean * free, _PART
    first = normal, slope, *bounds
    sigma = gaussian.variance.sqrt()
    second = SecondOrder(problem, rows, center, bounds, sigma, free)
    many = sample_box_gaussian(*first, gaussian, draw, _N_LINEAR, _LINEAR_SWEEPS)
    many = many * free[:, None]
    features = second.features(many)
    log_weight = -(second.chi2(features) - _chi2_of_parabola(normal, slope, many)) / 2
    chosen = _systematic(torch.softmax(log_weight, dim=1), n, draw(1))
    samples = many.gather(1, chosen[..., None].expand(-1, -1, many.shape[2]))
    samples = second.move(samples, first, free, draw)
    approximate = second.chi2(second.features(samples))
    points = center[:, None] + samples
    observed = flux[rows][:, None] - spectra_at(problem[0], rows, points)
    exact = (observed.double() ** 2 * problem[2][rows][:, None]).sum(2) - chi2[:, None]
    penalty = _penalties(points, [part[rows] for part in prior])
    weight = torch.softmax(-(exact + penalty - approximate) / 2, dim=1)
    return Samples(points, weight)


def _penalties(points, prior):
    """Penalties of priors, part of chi2, at points of shape (B, n, K)."""
    return torch.stack(
        [prior_penalty(point, prior) for point in points.unbind(1)], dim=1
    )


def _parabola(problem, rows, center, free):
    """Matrix, slope and constant of chi2 of the linear model around a point."""
    model, flux, ivar, _, _, (mean, weight) = problem
    numbers = flux.shape[1] * center.shape[1]
    parts = []
    for part in torch.arange(len(rows), device=rows.device).split(
        max(1, _MEMORY // (4 * numbers))
    ):
        some = rows[part]
        _, jacobian = model.linearize(some, center[part])
        residual = flux[some] - model.flux(some, center[part])
        weighted = jacobian.to(flux) * ivar[some][:, None]
        normal = (weighted @ jacobian.to(flux).mT).double()
        slope = (weighted @ residual[..., None])[..., 0].double()
        chi2 = (residual.double() ** 2 * ivar[some]).sum(1)
        parts.append((normal, slope, chi2))
    normal, slope, chi2 = map(torch.cat, zip(*parts, strict=True))
    normal = normal + torch.diag_embed(weight[rows])
    slope = slope + weight[rows] * (mean[rows] - center)
    both = free[:, :, None] & free[:, None]
    normal = normal * both + torch.diag_embed((~free).to(normal))
    return normal, slope * free, chi2


def _chi2_of_parabola(normal, slope, samples):
    """Chi2 of the linear model, relative to that of its middle."""
    return ((samples @ normal) * samples).sum(2) - 2 * (samples @ slope[..., None])[
        ..., 0
    ]


def _systematic(weight, n, uniform):
    """Draw n indices by weights of shape (B, m), with one random number per star."""
    place = (torch.arange(n, device=weight.device) + uniform) / n
    place = place.expand(len(weight), n).contiguous().to(weight)
    edges = weight.cumsum(1)
    chosen = torch.searchsorted(edges / edges[:, -1:], place)
    return chosen.clamp_max(weight.shape[1] - 1)
