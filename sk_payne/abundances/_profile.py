"""One-sided limits of labels that a spectrum does not pin down.

It is here because a standard deviation says nothing where chi2 is flat on one side.
"""

import numpy as np
import torch
from scipy.stats import norm

from sk_payne.abundances._batch import Batch
from sk_payne.abundances._fitting import each_part
from sk_payne.abundances._least_squares import fit_least_squares, invert_normal_matrix
from sk_payne.networks import fast_products

__all__ = ["profile_limits"]

# Steps towards a limit, and how near it must be, in the root of the rise of chi2.
_MAX_STEPS, _NEAR = 30, 0.01


@fast_products()
def profile_limits(task, found, columns, *, confidence, side):
    """Find where chi2 has risen by what a one-sided limit allows.

    Parameters
    ----------
    task : Task
        What is fitted.
    found : Measurements
        Of the stars.
    columns : list of int
        Which parameters.
    confidence : float
        Between 0.5 and 1.
    side : {"upper", "lower"}
        On which side.

    Returns
    -------
    limits : ndarray of shape (n, n_columns)
        In the units of the parameters; infinite where chi2 does not rise enough within
        the bounds, NaN for stars without data, and the value itself where it is known.
    """
    limits = np.full((len(task.spectra), len(columns)), np.nan)
    sign = 1.0 if side == "upper" else -1.0
    z = float(norm.ppf(confidence))

    def of_part(part):
        limits = np.full((len(part), len(columns)), np.nan)
        batch = Batch(part, found=found.of_part(part))
        if not len(batch.rows):
            return limits
        center, scale = part.units
        best, how = batch.fit_again()
        for i, column in enumerate(columns):
            # says nothing about the offset of an arm that is absent
            limits[batch.rows, i] = sign * np.inf
            for own in np.flatnonzero(part.columns == column):
                place = _limit(best, how, own, sign, z).cpu().numpy()
                limits[batch.rows, i] = center[own] + scale[own] * place
            # what is fixed is known on both sides
            known = part.task.constraints.of(part.rows[batch.rows]).value[:, column]
            is_known = np.isfinite(known)
            limits[batch.rows[is_known], i] = known[is_known]
        return limits

    for part, of_stars in each_part(task, of_part):
        limits[part.rows] = of_stars
    return limits


def _limit(best, how, column, sign, z):
    """Limits of one parameter, in the parameters of the model."""
    here = best.parameters[:, column]
    # of every star, where the root of the rise of chi2 is below z, and where above
    edge = (how["high"] if sign > 0 else how["low"])[:, column]
    below, rise_below = here.clone(), torch.zeros_like(here)
    error = invert_normal_matrix(best.normal_matrix)[:, column, column].sqrt()
    trial = _between(here + sign * z * error, here, edge)
    above, rise_above = edge.clone(), torch.full_like(here, torch.inf)
    others, limit = best.parameters, torch.full_like(here, torch.nan)
    rows = torch.arange(len(here), device=here.device)
    for _ in range(_MAX_STEPS):
        low, high = how["low"].clone(), how["high"].clone()
        low[rows, column] = high[rows, column] = trial[rows]
        fit = fit_least_squares(
            start=others, rows=rows, **(how | {"low": low, "high": high})
        )
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
