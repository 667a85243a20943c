"""One-sided limits of parameters by the profile of chi2."""

import numpy as np
import torch
from scipy.stats import norm

from sk_payne.abundances._emulator_errors import covariance_by_emulator
from sk_payne.abundances._measure import each_block
from sk_payne.abundances._normal_matrix import invert_normal_matrix
from sk_payne.abundances._observed import observe
from sk_payne.abundances._search import fit_again
from sk_payne.networks import fast_products

__all__ = ["profile_limits"]

# Steps towards a limit, and how near it must be, in the root of the rise of chi2.
_MAX_STEPS, _NEAR = 30, 0.01


@fast_products()
def profile_limits(plan, best, names, *, confidence, side):
    """Find where chi2 has risen by what a one-sided limit allows.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit.
    best : Measurements
        Best fits of all stars.
    names : list of str
        Names of the parameters.
    confidence : float
        Between 0.5 and 1.
    side : {"upper", "lower"}
        Side of the limits.

    Returns
    -------
    limits : ndarray of shape (n, n_names)
        In the units of the parameters; infinite where chi2 does not rise enough within
        the bounds, NaN for stars without data, and the value itself where it is known.
    """
    limits = np.full((len(plan.spectra), len(names)), np.nan)
    sign = 1.0 if side == "upper" else -1.0
    z = float(norm.ppf(confidence))

    def of_block(block):
        limits = np.full((len(block), len(names)), np.nan)
        observed = observe(block, previous=best.of_block(block).parameters)
        if not len(observed):
            return limits
        problem, fit = fit_again(observed)
        stars, parameters = observed.rows, block.parameters
        noise, every = _variances(problem, fit)
        for i, name in enumerate(names):
            # the spectrum says nothing about the offset of an absent arm
            limits[stars, i] = sign * np.inf
            if name in parameters:
                own = parameters.index(name)
                # chi2 does not know of errors of the emulator that go together
                scaled = z * (every / noise)[:, own].sqrt().nan_to_num(1.0)
                place = _limit(fit, problem, own, noise, sign, scaled).cpu().numpy()
                limits[stars, i] = parameters.zero[own] + parameters.scale[own] * place
            known = plan.constraints.of(block.rows[stars])
            known = known.value[:, plan.parameters.index(name)]
            is_known = np.isfinite(known)
            limits[stars[is_known], i] = known[is_known]
        return limits

    for block, of_stars in each_block(plan, of_block):
        limits[block.rows] = of_stars
    return limits


def _variances(problem, fit):
    """Variances of parameters (B, K) by chi2, and with errors of the emulator."""
    covariance = invert_normal_matrix(fit.normal_matrix)
    own = covariance_by_emulator(problem, fit.parameters, fit.normal_matrix)
    noise = torch.diagonal(covariance, dim1=1, dim2=2)
    if own is None:
        return noise, noise
    own = torch.from_numpy(np.diagonal(own, axis1=1, axis2=2).copy())
    return noise, noise + own.to(noise)


def _limit(best, problem, column, noise, sign, z):
    """Limits of one parameter where the root of the rise of chi2 is z, of shape (B,).

    In the variables of the fit; `noise` are variances by chi2, of shape (B, K).
    """
    here = best.parameters[:, column]
    # of every star, where the root of the rise of chi2 is below z, and where above
    edge = (problem.high if sign > 0 else problem.low)[:, column]
    below, rise_below = here.clone(), torch.zeros_like(here)
    error = noise[:, column].sqrt()
    trial = _between(here + sign * z * error, here, edge)
    above, rise_above = edge.clone(), torch.full_like(here, torch.inf)
    others, limit = best.parameters, torch.full_like(here, torch.nan)
    rows = torch.arange(len(here), device=here.device)
    for _ in range(_MAX_STEPS):
        low, high = problem.low.clone(), problem.high.clone()
        low[rows, column] = high[rows, column] = trial[rows]
        fit = problem.fit(others, rows=rows, low=low, high=high)
        others = torch.where(fit.converged[:, None], fit.parameters, others)
        rise = (fit.chi2 - best.chi2).clamp_min(0).sqrt()
        is_below = rise < z
        done = (rise - z).abs() < _NEAR
        flat = is_below & (trial == edge)
        limit[rows] = torch.where(flat, sign * torch.inf, trial)[rows]
        rows = rows[~(done | flat)[rows]]
        if not len(rows):
            break
        below = torch.where(is_below, trial, below)
        rise_below = torch.where(is_below, rise, rise_below)
        above = torch.where(is_below, above, trial)
        rise_above = torch.where(is_below, rise_above, rise)
        # the root rises about linearly; beyond what was seen, at most twice as far
        slope = (z - rise_below) / (rise_above - rise_below)
        known = below + slope * (above - below)
        further = here + 2 * (trial - here)
        steep = here + (trial - here) * z / rise.clamp_min(1e-3)
        beyond = torch.where((further - steep) * sign > 0, steep, further)
        guess = torch.where(torch.isfinite(rise_above), known, beyond)
        # never quite to an end, so that both ends close in
        room = 0.05 * (above - below)
        inner = _between(guess, below + room, above - room)
        trial = torch.where(
            torch.isfinite(rise_above), inner, _between(guess, below, edge)
        )
    return limit


def _between(value, one, other):
    """Clip values between two ends in either order."""
    return torch.minimum(
        torch.maximum(value, torch.minimum(one, other)), torch.maximum(one, other)
    )
