"""Profile of chi2: one parameter is moved, and all others are fitted again."""

import numpy as np
import torch

from sk_payne.abundances._emulator_errors import covariance_by_emulator
from sk_payne.abundances._normal_matrix import invert_normal_matrix

__all__ = ["find_limit", "variances"]

# Largest number of steps, and tolerance of the square root of the rise of chi2.
_MAX_STEPS, _NEAR = 30, 0.01


def variances(problem, fit):
    """Compute variances of parameters, without and with errors of the emulator.

    Parameters
    ----------
    problem : Problem
        Problem of B stars.
    fit : LeastSquaresFit
        Its solution, with K parameters.

    Returns
    -------
    noise, total : Tensor of shape (B, K)
        Variances in the variables of the fit: by chi2, and with errors of the emulator
        added.
    """
    covariance = invert_normal_matrix(fit.normal_matrix)
    by_emulator = covariance_by_emulator(problem, fit.parameters, fit.normal_matrix)
    noise = torch.diagonal(covariance, dim1=1, dim2=2)
    if by_emulator is None:
        return noise, noise
    by_emulator = torch.from_numpy(np.diagonal(by_emulator, axis1=1, axis2=2).copy())
    return noise, noise + by_emulator.to(noise)


def find_limit(best, problem, column, sign, z, *, near=_NEAR):
    """Find where chi2, with all other parameters fitted, has risen by the square of z.

    Parameters
    ----------
    best : LeastSquaresFit
        Best fits of B stars.
    problem : Problem
        Problem of the stars.
    column : int
        Column of the parameter.
    sign : {-1.0, 1.0}
        Side of the limit.
    z : float or Tensor of shape (B,)
        Square root of the rise of chi2.
    near : float, default=0.01
        Tolerance of this square root.

    Returns
    -------
    limit : Tensor of shape (B,)
        Limits in the variables of the fit; infinite where chi2 does not rise enough
        within the bounds.
    """
    here = best.parameters[:, column]
    # values of each star where the square root of the rise is below and above z
    edge = (problem.high if sign > 0 else problem.low)[:, column]
    below, rise_below = here.clone(), torch.zeros_like(here)
    covariance = invert_normal_matrix(best.normal_matrix)[:, column]
    # change of all parameters with this one, in a linear model
    response = (covariance / covariance[:, column, None]).nan_to_num(0.0, 0.0, 0.0)
    trial = here + sign * z * covariance[:, column].sqrt()
    trial = _between(trial, here, edge)
    above, rise_above = edge.clone(), torch.full_like(here, torch.inf)
    start = best.parameters + (trial - here)[:, None] * response
    limit = torch.full_like(here, torch.nan)
    rows = torch.arange(len(here), device=here.device)
    for _ in range(_MAX_STEPS):
        low, high = problem.low.clone(), problem.high.clone()
        low[rows, column] = high[rows, column] = trial[rows]
        fit = problem.fit(start, rows=rows, low=low, high=high)
        start, last = torch.where(fit.converged[:, None], fit.parameters, start), trial
        rise = (fit.chi2 - best.chi2).clamp_min(0).sqrt()
        is_below = rise < z
        done = (rise - z).abs() < near
        flat = is_below & (trial == edge)
        limit[rows] = torch.where(flat, sign * torch.inf, trial)[rows]
        rows = rows[~(done | flat)[rows]]
        if not len(rows):
            break
        below = torch.where(is_below, trial, below)
        rise_below = torch.where(is_below, rise, rise_below)
        above = torch.where(is_below, above, trial)
        rise_above = torch.where(is_below, rise_above, rise)
        # the square root rises about linearly; extrapolate by a factor of two at most
        slope = (z - rise_below) / (rise_above - rise_below)
        interpolated = below + slope * (above - below)
        further = here + 2 * (trial - here)
        steep = here + (trial - here) * z / rise.clamp_min(1e-3)
        extrapolated = torch.where((further - steep) * sign > 0, steep, further)
        guess = torch.where(torch.isfinite(rise_above), interpolated, extrapolated)
        # stay off the ends, so that both ends close in
        room = 0.05 * (above - below)
        inner = _between(guess, below + room, above - room)
        trial = torch.where(
            torch.isfinite(rise_above), inner, _between(guess, below, edge)
        )
        start = start + (trial - last)[:, None] * response
    return limit


def _between(value, one, other):
    """Clip values between two ends in either order."""
    return torch.minimum(
        torch.maximum(value, torch.minimum(one, other)), torch.maximum(one, other)
    )
