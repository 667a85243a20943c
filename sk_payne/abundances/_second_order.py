"""Flux around a best fit as a polynomial of second order in all parameters."""

import torch

from sk_payne.abundances._truncated import sample_one

__all__ = ["SecondOrder", "spectra_at"]

# Steps of each parameter per sample, and moves of all parameters together after each
# step.
_SWEEPS, _N_TOGETHER = 20, 3

# Fraction of the inverse variances with which steps of one parameter are drawn: tails
# may be longer than those of the parabola.
_WIDER = 0.1

# Steps from the center shorter than this fraction of an error are reversed.
_SHORT = 0.2

# Number of spectra computed at a time.
_SPECTRA = 256


class SecondOrder:
    """Flux of stars as polynomials of second order, and its chi2, priors included.

    Features of a displacement x are x_i, x_i^2, and x_i x_j with i < j; flux is linear
    in them: chi2 needs only matrices as large as their number.

    Parameters
    ----------
    problem : tuple
        Model, flux, inverse variances, bounds and priors of `sample_by_importance`.
    rows : Tensor of int, shape (B,)
        Stars.
    center : Tensor of shape (B, K)
        Parameters at which displacements are zero.
    bounds : sequence of two Tensor of shape (B, K)
        Bounds of displacements.
    sigma : Tensor of shape (B, K)
        Standard deviations of the parameters.
    free : Tensor of shape (B, K), bool
        True for parameters that are not fixed.
    """

    def __init__(self, problem, rows, center, bounds, sigma, free):
        model, flux, ivar, _, _, (mean, weight) = problem
        n = center.shape[1]
        self.n = n
        one, other = torch.triu_indices(n, n, 1, device=center.device)
        self.one, self.other = one, other
        # index of the feature of a pair
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
        change = spectra_at(model, rows, center[:, None] + points) - middle[:, None]
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
        """Chi2 relative to that of the center, of shape (B, n)."""
        curved = ((features @ self.normal) * features).sum(2)
        return (
            curved
            - 2 * (features @ self.slope[..., None])[..., 0]
            + (self.constant[:, None])
        )

    def move(self, samples, first, free, draw):
        """Move samples: each parameter alone, then all parameters together."""
        samples, features = samples.clone(), self.features(samples)
        for _ in range(_SWEEPS):
            self._sweep(samples, features, first, free, draw)
            for _ in range(_N_TOGETHER):
                self._move_together(samples, features, first[2:], draw)
        return samples

    def _sweep(self, samples, features, first, free, draw):
        """Move each parameter by a draw from the linear model, with longer tails."""
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
            order, size, uniform = draw(3, n).unbind(1)
            order = order.argsort(1)[..., None].expand(-1, -1, self.n)
            other = samples[:, others].gather(1, order)
            step = other - other.roll(1, dims=1)
            # steps of any size, up to twice the optimum for Gaussians
            size = 2 * size[..., None] * 2.38 / (2 * self.n) ** 0.5
            new = samples[:, mine] + size * step
            # reflect at the bounds: the reverse move is as likely
            new = torch.where(new < low, 2 * low - new, new)
            new = torch.where(new > high, 2 * high - new, new)
            inside = ((new >= low) & (new <= high)).all(2)
            new_features = self.features(new)
            rise = self.chi2(new_features) - self.chi2(features[:, mine])
            accepted = (inside & (uniform.log() < -rise / 2))[..., None]
            samples[:, mine] = torch.where(accepted, new, samples[:, mine])
            features[:, mine] = torch.where(accepted, new_features, features[:, mine])

    def _rise(self, features, samples, i, step):
        """Rise of chi2 by a step of one parameter; its features and their changes."""
        device = self.pair.device
        others = torch.tensor([j for j in range(self.n) if j != i], device=device)
        powers = torch.tensor([i, self.n + i], device=device)
        place = torch.cat([powers, self.pair[i, others]])
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


def spectra_at(model, rows, points):
    """Compute many spectra of each star.

    Parameters
    ----------
    model : object
        Model with ``flux(rows, variables)``.
    rows : Tensor of int, shape (B,)
        Stars.
    points : Tensor of shape (B, n, K)
        Variables of the fit.

    Returns
    -------
    flux : Tensor of shape (B, n, P)
        Model flux.
    """
    stars = rows[:, None].expand(points.shape[:2]).flatten()
    flux = [
        model.flux(part, point)
        for part, point in zip(
            stars.split(_SPECTRA), points.flatten(0, 1).split(_SPECTRA), strict=True
        )
    ]
    return torch.cat(flux).unflatten(0, points.shape[:2])
