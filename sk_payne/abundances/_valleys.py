r"""Other valleys of chi2: labels that hardly show may fit better far away.

chi2 may have several minima along labels that a spectrum hardly constrains: without
molecules in the spectrum, for instance, a fit cannot tell in which direction carbon
lies. The box of these weak labels is searched as a whole.
"""

from functools import cache

import numpy as np
import torch
from scipy.stats import qmc

from sk_payne.abundances._least_squares import invert_normal_matrix, prior_penalty

__all__ = ["other_valleys"]

# Labels whose error exceeds this fraction of half of their range are weak.
_WEAK = 0.05

# Positions along each weak label, between -1 and 1, and points of a Sobol sequence in
# the box of all of them.
_ALONG, _N_TOGETHER = (-0.95, -0.5, 0.0, 0.5, 0.95), 32

# A point is worth a fit if chi2 rises by less than this from the best fit to it, and by
# less than this fraction of the rise of the parabola around the best fit.
_NEAR, _FLATTER = 30.0, 0.3

# Largest number of fits from such points.
_N_STARTS = 3

# Points closer than this, in half ranges of all weak labels, lead to one valley.
_APART = 0.4


@torch.no_grad()
def other_valleys(problem, fit, row):
    r"""Find starts in other valleys of one star.

    At points spread over the box of the weak labels, chi2 is computed with all other
    parameters free, whose response is taken to be linear:

    .. math::
        \chi^2 = r^T W r - g^T N^{-1} g, \quad g = J W r, \quad N = J W J^T ,

    with the residuals r at the point, and derivatives J at the best fit.

    Parameters
    ----------
    problem : Problem
        Problem of the stars.
    fit : LeastSquaresFit
        Best fits so far.
    row : int
        Star.

    Returns
    -------
    starts : Tensor of shape (n, K)
        Starts in the variables of the fit, that of the lowest chi2 first; there may be
        none.
    """
    low, high, best = problem.low[row], problem.high[row], fit.parameters[row]
    normal = fit.normal_matrix[row]
    free, half = low < high, (high - low) / 2
    weak = _weak_labels(problem, normal, best, row)
    if not weak.any():
        return best.new_zeros(0, len(best))
    trial = _points(best, weak, (low + high) / 2, half)
    strong = free & ~weak
    chi2, step = _profile(problem, fit, row, trial, strong)
    rise = chi2 - fit.chi2[row]
    off = (trial - best)[:, weak]
    parabola = ((off @ _curvature(normal, weak, strong)) * off).sum(1)
    is_worth = (rise < _NEAR) & (rise < _FLATTER * parabola)
    trial[:, strong] += step
    trial = trial.clamp(low, high)
    place = trial[:, weak] / half[weak]
    chosen = []
    for i in rise.argsort().tolist():
        far = all((place[i] - place[j]).abs().max() > _APART for j in chosen)
        if is_worth[i] and far:
            chosen.append(i)
    return trial[chosen[:_N_STARTS]]


def _weak_labels(problem, normal, best, row):
    """Whether each parameter is a free label that the spectrum hardly constrains."""
    low, high = problem.low[row], problem.high[row]
    error = invert_normal_matrix(normal[None])[0].diagonal().sqrt()
    is_label = torch.arange(len(best), device=best.device) < (
        problem.observed.block.parameters.n_labels
    )
    at_edge = (best <= low) | (best >= high)
    wide = ~(error <= _WEAK * (high - low) / 2)
    return is_label & (low < high) & (wide | at_edge)


def _profile(problem, fit, row, trial, strong):
    """Give chi2 at points with the strong parameters free, and their steps."""
    rows = torch.full((len(trial),), row, device=trial.device)
    residual = problem.flux[row] - problem.model.flux(rows, trial)
    weighted = residual * problem.ivar[row]
    prior = [part[row].expand_as(trial) for part in problem.prior]
    chi2 = (weighted * residual).sum(1).double() + prior_penalty(trial, prior)
    jacobian = fit.jacobian[row][strong]
    mean, weight = prior
    slope = (weighted @ jacobian.mT).double() + (weight * (mean - trial))[:, strong]
    normal = fit.normal_matrix[row][strong][:, strong]
    step, _ = torch.linalg.solve_ex(normal, slope.mT)
    step = step.mT.nan_to_num()
    return chi2 - (slope * step).sum(1), step


def _curvature(normal, weak, strong):
    """Normal matrix of the weak labels with the strong parameters free."""
    cross = normal[strong][:, weak]
    inner, _ = torch.linalg.solve_ex(normal[strong][:, strong], cross)
    return normal[weak][:, weak] - cross.mT @ inner.nan_to_num()


def _points(best, weak, middle, half):
    """Points along each weak label, and spread over the box of all of them."""
    parts = []
    for column in torch.nonzero(weak)[:, 0].tolist():
        line = best.repeat(len(_ALONG), 1)
        line[:, column] = middle[column] + half[column] * line.new_tensor(_ALONG)
        parts.append(line)
    n = int(weak.sum())
    if n > 1:
        spread = best.repeat(_N_TOGETHER, 1)
        unit = torch.from_numpy(_sobol(n)).to(best)
        spread[:, weak] = middle[weak] + half[weak] * unit
        parts.append(spread)
    return torch.cat(parts)


@cache
def _sobol(n):
    """Sobol sequence in n dimensions, between the farthest positions."""
    unit = qmc.Sobol(n, rng=np.random.default_rng(0)).random(_N_TOGETHER)
    return _ALONG[-1] * (2 * unit - 1)
