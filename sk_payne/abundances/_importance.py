r"""Samples of what spectra say about stars, by a model of second order and weights.

It is here for errors where chi2 is not a parabola: labels that end at bounds, or hardly
show. It takes some hundred spectra for a star, where a Markov chain takes 100 000.
"""

import zlib

import numpy as np
import torch

from sk_payne.abundances._least_squares import prior_penalty
from sk_payne.abundances._truncated import (
    fit_box_gaussian,
    sample_box_gaussian,
    sample_one,
)

__all__ = ["Samples", "sample_batch", "sample_by_importance", "seeds_of"]

# How often the middle of the parabola is moved to the mean within the bounds, and the
# part of the way that is gone, but for the first time.
_N_MOVES, _PART = 2, 0.5

# Samples of the parabola, and steps of each parameter for one of them; the same for
# samples of the model of second order, and how often all parameters are moved together
# after each.
_N_LINEAR, _LINEAR_SWEEPS = 2048, 8
_SECOND_SWEEPS, _N_TOGETHER = 20, 3

# Part of the inverse variances that steps of one parameter are drawn with: tails of the
# model of second order may be longer than those of the parabola.
_WIDER = 0.1

# Steps from the middle that are less than this part of an error go the other way.
_SHORT = 0.2

# Independent samples below which a star is sampled again, around the mean that was
# found, and how often.
_FEW, _N_AGAIN = 40.0, 2

# Numbers held for the stars that are sampled together: 256 MB; and spectra made at a
# time.
_MEMORY, _SPECTRA = 2**25, 256


class Samples:
    """Weighted samples of B stars.

    Attributes
    ----------
    samples : Tensor of shape (B, n, K)
        In the parameters of the model.
    weight : Tensor of shape (B, n)
        Of the samples, with the sum 1.
    n_effective : Tensor of shape (B,)
        How many samples of the same weight tell as much.
    """

    def __init__(self, samples, weight):
        self.samples, self.weight = samples, weight

    @property
    def n_effective(self):
        """Inverse of the sum of squared weights."""
        return 1 / (self.weight**2).sum(1)

    @property
    def mean(self):
        """Means, of shape (B, K)."""
        return (self.weight[..., None] * self.samples).sum(1)

    @property
    def covariance(self):
        """Covariances of shape (B, K, K), the error of the means included."""
        off = self.samples - self.mean[:, None]
        found = off.mT @ (self.weight[..., None] * off)
        n = self.n_effective.clamp_min(2.0)
        return found * (n / (n - 1) * (1 + 1 / n))[:, None, None]

    def quantile(self, part):
        """Quantiles of shape (B, K): values below which a part of the weight is."""
        value, order = self.samples.sort(dim=1)
        weight = self.weight[..., None].expand_as(value).gather(1, order)
        # each sample stands in the middle of its weight
        below = weight.cumsum(1) - weight / 2
        place = (below < part).sum(1, keepdim=True).clamp(1, value.shape[1] - 1)
        left, right = (below.gather(1, place - i) for i in (1, 0))
        start, end = (value.gather(1, place - i) for i in (1, 0))
        along = ((part - left) / (right - left).clamp_min(1e-300)).clamp(0, 1)
        return (start + along * (end - start))[:, 0]

    def draw(self, n, uniform):
        """Give samples of equal weight, of shape (B, n, K), by one random number."""
        chosen = _systematic(self.weight, n, uniform)[..., None]
        return self.samples.gather(1, chosen.expand(-1, -1, self.samples.shape[2]))


def seeds_of(flux, seed=0):
    """Seeds that are the same wherever and whenever a spectrum is measured.

    Parameters
    ----------
    flux : ndarray of shape (n, P)
        Spectra, without pixels that are there because of other stars.
    seed : int, default=0
        Gives other numbers, likewise.

    Returns
    -------
    seeds : list of int
        Of each.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._importance import seeds_of
    >>> one, other = seeds_of(np.array([[1.0, 0.5], [0.9, 1.0]]))
    >>> [one] == seeds_of(np.array([[1.0, 0.5]])), one == other
    (True, False)
    """
    return [zlib.crc32(np.ascontiguousarray(row).tobytes(), seed) for row in flux]


def sample_batch(batch, *, n, seeds):
    """Sample what spectra say about stars that were fitted.

    Parameters
    ----------
    batch : Batch
        Of the stars.
    n, seeds
        As in `sample_by_importance`.

    Returns
    -------
    found : Samples
        Of all of them.
    """
    fit, how = batch.fit_again()
    how.pop("max_iterations")
    return sample_by_importance(start=fit.parameters, n=n, seeds=seeds, **how)


@torch.no_grad()
def sample_by_importance(model, flux, ivar, start, low, high, prior, *, n, seeds):
    r"""Sample what spectra say about stars, near their best fits.

    The density is :math:`e^{-\chi^2/2}` times priors within the bounds. Three models of
    it, each sampled with the help of the one before:

    1. chi2 is the parabola of a model that is linear around a point, which is moved to
       the mean of the density within the bounds;
    2. flux is a polynomial of second order in all parameters, through spectra one
       standard deviation from there along every parameter and every pair of them;
    3. flux is that of the model: samples of 2 are weighted by how much more probable
       3 makes them (importance sampling [1]_).

    From 1 to 2, samples are drawn by their weights and then moved: parameter by
    parameter, as 1 suggests and 2 accepts [2]_, and together, by differences between
    other samples [3]_. Where the weights of 3 leave few samples, all is done again
    around the mean that was found.

    Parameters
    ----------
    model : object
        With ``flux(rows, parameters)`` and ``linearize(rows, parameters)``, as for
        `fit_least_squares`.
    flux, ivar : Tensor of shape (B, P)
        Observations and inverse variances.
    start : Tensor of shape (B, K), float64
        Best fits.
    low, high : Tensor of shape (B, K), float64
        Bounds; alike for parameters that are fixed.
    prior : tuple of Tensor of shape (B, K), float64
        Means and inverse variances.
    n : int
        Samples of each star.
    seeds : list of int
        Of the random numbers of each star.

    Returns
    -------
    found : Samples
        Of all stars.

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
    every = torch.arange(len(start), device=start.device)
    samples = start.new_empty(len(start), n, n_parameters)
    weight = start.new_empty(len(start), n)
    problem = model, flux, ivar, low, high, prior
    for rows in every.split(step):
        best, rngs = None, [np.random.default_rng(seeds[i]) for i in rows.tolist()]
        around = start[rows]
        # which of them are still sampled
        left = torch.arange(len(rows), device=rows.device)
        for _ in range(1 + _N_AGAIN):
            draw = _Draw([rngs[i] for i in left.tolist()], start)
            found = _sample(problem, rows[left], around[left], n, draw)
            best = found if best is None else _better(best, found, left)
            left = torch.nonzero(best.n_effective < _FEW)[:, 0]
            around = best.mean
            if not len(left):
                break
        samples[rows], weight[rows] = best.samples, best.weight
    return Samples(samples, weight)


class _Draw:
    """Random numbers of stars that are sampled together, of each from its own seed."""

    def __init__(self, rngs, like):
        self.rngs, self.like = rngs, like

    def __call__(self, *shape):
        return torch.from_numpy(np.stack([r.random(shape) for r in self.rngs])).to(
            self.like
        )


def _better(before, found, rows):
    """Take over the samples of stars that are worth more."""
    better = found.n_effective > before.n_effective[rows]
    samples, weight = before.samples.clone(), before.weight.clone()
    samples[rows[better]] = found.samples[better]
    weight[rows[better]] = found.weight[better]
    return Samples(samples, weight)


def _sample(problem, rows, start, n, draw):
    """Sample some stars once."""
    _, flux, _, low, high, prior = problem
    low, high = low[rows], high[rows]
    free = low < high
    center = start.clamp(low, high)
    # what is fixed must not make matrices singular, and is put back at the end
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
    second = _SecondOrder(problem, rows, center, bounds, sigma, free)
    many = sample_box_gaussian(*first, gaussian, draw, _N_LINEAR, _LINEAR_SWEEPS)
    many = many * free[:, None]
    features = second.features(many)
    log_weight = -(second.chi2(features) - _chi2_of_parabola(normal, slope, many)) / 2
    chosen = _systematic(torch.softmax(log_weight, dim=1), n, draw(1))
    samples = many.gather(1, chosen[..., None].expand(-1, -1, many.shape[2]))
    samples = second.move(samples, first, free, draw)
    own = second.chi2(second.features(samples))
    points = center[:, None] + samples
    observed = flux[rows][:, None] - _spectra(problem[0], rows, points)
    exact = (observed.double() ** 2 * problem[2][rows][:, None]).sum(2) - chi2[:, None]
    penalty = _penalties(points, [part[rows] for part in prior])
    weight = torch.softmax(-(exact + penalty - own) / 2, dim=1)
    return Samples(points, weight)


def _penalties(points, prior):
    """Give what priors add to chi2 at points of shape (B, n, K)."""
    return torch.stack(
        [prior_penalty(point, prior) for point in points.unbind(1)], dim=1
    )


def _parabola(problem, rows, center, free):
    """Matrix, slope and height of chi2 of the linear model around a point."""
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


def _spectra(model, rows, points):
    """Flux of shape (B, n, P) at points of shape (B, n, K)."""
    every = rows[:, None].expand(points.shape[:2]).flatten()
    flux = [
        model.flux(part, point)
        for part, point in zip(
            every.split(_SPECTRA), points.flatten(0, 1).split(_SPECTRA), strict=True
        )
    ]
    return torch.cat(flux).unflatten(0, points.shape[:2])


def _systematic(weight, n, uniform):
    """Give n indices by weights of shape (B, m), with one random number each."""
    place = (torch.arange(n, device=weight.device) + uniform) / n
    place = place.expand(len(weight), n).contiguous().to(weight)
    edges = weight.cumsum(1)
    chosen = torch.searchsorted(edges / edges[:, -1:], place)
    return chosen.clamp_max(weight.shape[1] - 1)


class _SecondOrder:
    """Flux of stars as polynomials of second order, and chi2 of it.

    Features of a displacement x are x_i, x_i^2, and x_i x_j with i < j; flux is linear
    in them, so that chi2 needs matrices of their number only. Priors are in it.
    """

    def __init__(self, problem, rows, center, bounds, sigma, free):
        model, flux, ivar, _, _, (mean, weight) = problem
        n = center.shape[1]
        self.n = n
        one, other = torch.triu_indices(n, n, 1, device=center.device)
        self.one, self.other = one, other
        # where the feature of a pair is
        self.pair = torch.zeros(n, n, dtype=torch.int64, device=center.device)
        place = torch.arange(2 * n, 2 * n + len(one), device=center.device)
        self.pair[one, other] = self.pair[other, one] = place
        # one standard deviation to both sides, or within the bounds
        below, above = (torch.minimum(sigma, edge.abs()) for edge in bounds)
        up = torch.where(above < _SHORT * sigma, -below / 2, above)
        down = torch.where(below < _SHORT * sigma, above / 2, -below)
        unit = torch.eye(n, dtype=center.dtype, device=center.device)
        move = free[:, None] * unit
        points = torch.cat(
            [
                up[:, None] * move,
                down[:, None] * move,
                up[:, None] * (move[:, one] + move[:, other]),
            ],
            dim=1,
        )
        middle = model.flux(rows, center)
        change = _spectra(model, rows, center[:, None] + points) - middle[:, None]
        up, down = up[..., None], down[..., None]
        above, below, both = change.split((n, n, len(one)), dim=1)
        square = (above / up - below / down) / (up - down)
        linear = above / up - square * up
        mixed = (both - above[:, one] - above[:, other]) / (up[:, one] * up[:, other])
        terms = torch.cat([linear, square, mixed], dim=1).to(flux)
        weighted = terms * ivar[rows][:, None]
        self.normal = (weighted @ terms.mT).double()
        residual = flux[rows] - middle
        self.slope = (weighted @ residual[..., None])[..., 0].double()
        weight = weight[rows] * free
        self.normal[:, :n, :n] += torch.diag_embed(weight)
        self.slope[:, :n] += weight * (mean[rows] - center)
        # relative to chi2 of the flux alone
        self.constant = (weight * (mean[rows] - center) ** 2).sum(1)

    def features(self, samples):
        """Terms of the polynomials, of shape (B, n, M)."""
        mixed = samples[:, :, self.one] * samples[:, :, self.other]
        return torch.cat([samples, samples**2, mixed], dim=2)

    def chi2(self, features):
        """Chi2 relative to that of the middle, of shape (B, n)."""
        curved = ((features @ self.normal) * features).sum(2)
        return (
            curved
            - 2 * (features @ self.slope[..., None])[..., 0]
            + (self.constant[:, None])
        )

    def move(self, samples, first, free, draw):
        """Move samples: one parameter after the other, and some along the others."""
        samples, features = samples.clone(), self.features(samples)
        for _ in range(_SECOND_SWEEPS):
            self._sweep(samples, features, first, free, draw)
            for _ in range(_N_TOGETHER):
                self._move_together(samples, features, first[2:], draw)
        return samples

    def _sweep(self, samples, features, first, free, draw):
        """Move each parameter as the linear model suggests, but further."""
        normal, slope, low, high = first
        normal, slope = _WIDER * normal, _WIDER * slope
        uniform = draw(2, self.n, samples.shape[1])
        for i in range(self.n):
            new = sample_one(normal, slope, low, high, samples, i, uniform[:, 0, i])
            step = (new - samples[:, :, i]) * free[:, i, None]
            rise, place, change = self._rise(features, samples, i, step)
            pushed = (samples @ normal[:, i, :, None])[..., 0]
            expected = 2 * step * (pushed - slope[:, i, None])
            expected = expected + step**2 * normal[:, i, i, None]
            accepted = uniform[:, 1, i].log() < -(rise - expected) / 2
            samples[:, :, i] += step * accepted
            features[:, :, place] += change * accepted[..., None]

    def _move_together(self, samples, features, bounds, draw):
        """Move all parameters by differences between other samples of the star."""
        low, high = (edge[:, None] for edge in bounds)
        n = samples.shape[1] // 2
        for mine, others in ((slice(n), slice(n, 2 * n)), (slice(n, 2 * n), slice(n))):
            order, size, lot = draw(3, n).unbind(1)
            order = order.argsort(1)[..., None].expand(-1, -1, self.n)
            other = samples[:, others].gather(1, order)
            step = other - other.roll(1, dims=1)
            # of any size, also much smaller than the best for Gaussians
            size = 2 * size[..., None] * 2.38 / (2 * self.n) ** 0.5
            new = samples[:, mine] + size * step
            # folded back at the bounds, as likely as the way back
            new = torch.where(new < low, 2 * low - new, new)
            new = torch.where(new > high, 2 * high - new, new)
            inside = ((new >= low) & (new <= high)).all(2)
            then = self.features(new)
            rise = self.chi2(then) - self.chi2(features[:, mine])
            accepted = (inside & (lot.log() < -rise / 2))[..., None]
            samples[:, mine] = torch.where(accepted, new, samples[:, mine])
            features[:, mine] = torch.where(accepted, then, features[:, mine])

    def _rise(self, features, samples, i, step):
        """Rise of chi2 by a step of one parameter, and what changes of the features."""
        device = self.pair.device
        others = torch.tensor([j for j in range(self.n) if j != i], device=device)
        own = torch.tensor([i, self.n + i], device=device)
        place = torch.cat([own, self.pair[i, others]])
        value = samples[:, :, i]
        change = torch.cat(
            [
                step[..., None],
                ((value + step) ** 2 - value**2)[..., None],
                step[..., None] * samples[:, :, others],
            ],
            dim=2,
        )
        normal = self.normal[:, place]
        pushed = features @ normal.mT - self.slope[:, None, place]
        rise = 2 * (change * pushed).sum(2)
        rise = rise + ((change @ normal[:, :, place]) * change).sum(2)
        return rise, place, change
