"""Weights of pixels that depend on the fit: clipped outliers and an error floor."""

from copy import copy

import numpy as np
import torch

__all__ = ["Reweighting", "reweigh"]

# Largest number of rounds of reweighting and fitting again; largest relative change of
# the floor that ends them.
_N_ROUNDS, _SAME_FLOOR = 10, 0.01

# Median of the square of a standard Gaussian variable.
_MEDIAN = 0.45494


def reweigh(residual, ivar, continuum, n_fitted, *, clip, fit_floor):
    r"""Compute inverse variances of pixels from the residuals of a fit.

    Errors are :math:`\sqrt{\sigma^2 + s^2 c^2}` with the continuum c. The floor s is
    the smallest for which the median of squared residuals over variances is not above
    that of Gaussian noise, 0.455, times the fraction of degrees of freedom per pixel. A
    median is not sensitive to outliers. Pixels with residuals above `clip` errors are
    clipped, or above `clip` robust standard deviations if these are larger.

    Parameters
    ----------
    residual, ivar, continuum : Tensor of shape (B, P)
        Residuals, inverse variances without floor and clipping, 0 for bad pixels, and
        approximate continua of the stars.
    n_fitted : Tensor of shape (B,)
        Number of fitted parameters of each star.
    clip : float or None
        Largest residual in errors; None for no clipping.
    fit_floor : bool
        True to fit the floor.

    Returns
    -------
    ivar : Tensor of shape (B, P)
        Inverse variances for the next fit; 0 for clipped pixels.
    floor : Tensor of shape (B,)
        Floor s, as a fraction of the continuum.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.abundances._reweighting import reweigh
    >>> residual = torch.tensor([[-1.0, 0.2, 0.7, -0.5, 9.0]])
    >>> one, none = torch.ones(1, 5), torch.zeros(1)
    >>> reweigh(residual, one, one, none, clip=5, fit_floor=False)
    (tensor([[1., 1., 1., 1., 0.]]), tensor([0.]))
    """
    good = ivar > 0
    variance = torch.where(good, 1 / ivar, torch.nan)
    floor = torch.zeros_like(residual[:, 0])
    if fit_floor:
        n_good = good.sum(1)
        free = (n_good - n_fitted).clamp_min(1) / n_good.clamp_min(1)
        missing = residual**2 / (_MEDIAN * free[:, None]) - variance
        floor = _median(missing / continuum**2).clamp_min(0).sqrt()
        variance = variance + (floor[:, None] * continuum) ** 2
    if clip is not None:
        size = residual**2 / variance
        scatter = (_median(size) / _MEDIAN).clamp_min(1)
        variance = torch.where(size > clip**2 * scatter[:, None], torch.inf, variance)
    return torch.where(good, 1 / variance, 0.0), floor


def _median(values):
    return values.nanmedian(1).values


class Reweighting:
    """Weights of pixels that depend on the fit: clipped pixels and a fitted floor.

    Parameters
    ----------
    problem : Problem
        Least-squares problem, whose inverse variances are changed in place.

    Attributes
    ----------
    is_needed : bool
        True if weights depend on the fit.
    floor : ndarray of shape (B,)
        Error floor of each star, as a fraction of the continuum.
    own_ivar : Tensor of shape (B, P)
        Inverse variances of pixels before any reweighting.
    """

    def __init__(self, problem):
        self.problem, self.observed = problem, problem.observed
        observation = self.observed.block.observation
        self.clip, self.fits_floor = observation.clip, observation.fits_floor
        self.is_needed = observation.is_reweighted
        self.floor = np.zeros(len(self.observed))
        if not self.fits_floor:
            self.floor += observation.error_floor
        self.own_ivar = problem.ivar.clone() if self.is_needed else problem.ivar
        self.ivar = None

    def trust_no_rays(self):
        """Set the weights of obvious cosmic rays to zero before the first fit."""
        if self.clip is not None:
            ivar = self.problem.ivar
            ivar[:] = torch.tensor(self.observed.trusted_ivar, device=ivar.device)

    def settle(self, fit, rows):
        """Reweight pixels and fit stars again until weights do not change.

        Parameters
        ----------
        fit : LeastSquaresFit
            Fits, changed in place.
        rows : Tensor of int
            Rows of the stars.
        """
        for _ in range(_N_ROUNDS if self.is_needed else 0):
            rows = self.update(fit.residual, rows)
            if not len(rows):
                break
            fit.take(self.problem.fit(fit.parameters, rows=rows), rows)

    def update(self, residual, rows):
        """Reweight the pixels of stars by their residuals.

        Parameters
        ----------
        residual : Tensor of shape (B, P)
            Residuals of all stars.
        rows : Tensor of int
            Rows of the stars to reweight.

        Returns
        -------
        changed : Tensor of int
            Rows of the stars whose weights changed.
        """
        ivar, which = self.problem.ivar, rows.cpu().numpy()
        own = self.own_ivar[rows]
        new, floor = reweigh(
            residual[rows],
            own,
            torch.tensor(self.observed.continuum[which], device="cpu").to(own),
            torch.tensor(self.observed.n_fitted[which], device=own.device),
            clip=self.clip,
            fit_floor=self.fits_floor,
        )
        changed = ((new > 0) != (ivar[rows] > 0)).any(1).cpu().numpy()
        if self.fits_floor:
            floor = floor.double().cpu().numpy()
            changed |= np.abs(floor - self.floor[which]) > _SAME_FLOOR * floor
            self.floor[which[changed]] = floor[changed]
        changed = torch.from_numpy(changed).to(rows.device)
        ivar[rows[changed]] = new[changed]
        return rows[changed]

    def systematic(self, which):
        """Compute variances that may be correlated between pixels, of shape (n, P)."""
        variance = self.observed.systematic[which]
        if self.fits_floor:
            floor = self.floor[which, None] * self.observed.continuum[which]
            variance = variance + floor**2
        return variance

    def copy(self):
        """Copy the present weights."""
        other = copy(self)
        other.floor = self.floor.copy()
        other.ivar = self.problem.ivar.clone() if self.is_needed else self.problem.ivar
        return other

    def restore(self, before, rows):
        """Restore copied weights of some stars."""
        if self.is_needed:
            self.problem.ivar[rows] = before.ivar[rows]
            which = rows.cpu().numpy()
            self.floor[which] = before.floor[which]

    def compare(self, residual, row):
        r"""Compute a robust objective to compare fits of one star; lower is better.

        It is for weights that depend on the fit. With `clip` alone, it is the sum of
        squared residuals, each limited to :math:`c^2`, over all pixels. With a fitted
        floor it is minus twice the logarithm of a Cauchy likelihood, since the floor is
        fitted to the median residual, like the scale of a Cauchy distribution,

        .. math:: \sum_i 2 \ln(1 + r_i^2 / m v_i) + \ln v_i ,

        over the same pixels for all fits, with residuals r, variances v including the
        floor, and the median m = 0.455 of squared Gaussian residuals. The pixels with
        the largest residuals would dominate a sum of squares.

        Parameters
        ----------
        residual : Tensor of shape (n, P)
            Residuals of n fits.
        row : int
            Row of the star.

        Returns
        -------
        objective : Tensor of shape (n,)
            Objective of each fit, without priors.
        """
        own = self.own_ivar[row]
        variance = self._variance(residual, row)
        size = residual**2 / variance
        if self.fits_floor:
            size = 2 * (size / _MEDIAN).log1p() + variance.log()
        else:
            size = size.clamp_max(self.clip**2)
        return torch.where(own > 0, size, 0.0).double().sum(1)

    def robust(self, residual, row):
        """Compute robust inverse variances from residuals, without clipping.

        Parameters
        ----------
        residual : Tensor of shape (n, P)
            Residuals of n fits.
        row : int
            Row of the star.

        Returns
        -------
        ivar : Tensor of shape (n, P)
            Weights of the Cauchy likelihood.
        """
        own = self.own_ivar[row].expand_as(residual)
        variance = self._variance(residual, row)
        weight = 1 / (variance * (1 + residual**2 / (_MEDIAN * variance)))
        return torch.where(own > 0, weight, 0.0)

    def _variance(self, residual, row):
        """Compute variances of the pixels of one star, with the floor of residuals."""
        own = self.own_ivar[row].expand_as(residual)
        variance = 1 / own
        if self.fits_floor:
            continuum = torch.tensor(self.observed.continuum[row], device="cpu")
            continuum = continuum.to(own).expand_as(own)
            n_fitted = torch.tensor(self.observed.n_fitted[[row]], device=own.device)
            _, floor = reweigh(
                residual,
                own,
                continuum,
                n_fitted.expand(len(own)),
                clip=None,
                fit_floor=True,
            )
            variance = variance + (floor[:, None] * continuum) ** 2
        return variance
