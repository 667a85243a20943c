r"""Other minima of chi2, along labels that a spectrum hardly constrains.

chi2 may have several minima along weak labels: without molecules in the spectrum, for
instance, a fit does not know in which direction to move carbon. Weak labels are
therefore searched along their whole range.
"""

from typing import NamedTuple

import torch

from sk_payne.abundances._linear_step import chi2_and_slope, held_step
from sk_payne.abundances._normal_matrix import free_covariance, prior_penalty

__all__ = ["other_valleys"]

# Labels whose error exceeds this fraction of half of their range are weak.
_WEAK = 0.04

# Positions along the range of each weak label, between -1 and 1.
_ALONG = (-0.95, -0.6, -0.2, 0.2, 0.6, 0.95)

# Points are tested if the parabola around the best fit predicts a larger rise of chi2
# than this. A fit starts at a point if chi2 rises there by less than a limit, and by
# less than a fraction of the prediction: (limit, fraction).
_FAR, _WORTH = 2.0, ((5.0, 0.25), (50.0, 0.1))

# Number of linear steps at each point if weights depend on residuals.
_N_STEPS = 2

# Largest number of fits from such points.
_N_STARTS = 4


@torch.no_grad()
def other_valleys(problem, weights, fit, row):
    r"""Find starts in other valleys of one star.

    Each weak label is moved along its range; the other labels follow the linear model
    around the best fit. At each point all other parameters take one more linear step,

    .. math:: N^{-1} J W r, \quad N = J W J^T ,

    with the residuals r at the point, derivatives J at the best fit, and weights W,
    which are computed from the residuals if weights depend on the fit.

    Parameters
    ----------
    problem : Problem
        Problem of the stars.
    weights : Reweighting
        Weights of the pixels.
    fit : LeastSquaresFit
        Best fits so far.
    row : int
        Row of the star.

    Returns
    -------
    starts : Tensor of shape (n, K)
        Starts in the variables of the fit, the most promising first; there may be none.
    """
    low, high, best = problem.low[row], problem.high[row], fit.parameters[row]
    n_labels = problem.observed.block.parameters.n_labels
    none = best.new_zeros(0, len(best))
    # parameters at a bound stay there, except for a weak label that is moved
    free = (low < best) & (best < high)
    covariance = _covariance(fit.normal_matrix[row], free)
    lines = []
    for column in _weak_labels(low, high, best, free, covariance, n_labels):
        line_covariance = covariance
        if not free[column]:
            line_covariance = _covariance(fit.normal_matrix[row], free, column)
        line, parabola = _line(line_covariance, best, low, high, column, n_labels)
        if len(line):
            lines.append(_Line(column, line_covariance, line, parabola))
    if not lines:
        return none
    points = torch.cat([best[None], *(line.points for line in lines)])
    residual = problem.flux[row] - problem.model.spectra(row, points)
    compute = _robust_rises if weights.is_needed else _rises
    rises, steps = compute(problem, weights, fit, row, points, residual, lines)
    starts, lowest = [], []
    for line, rise, step in zip(lines, rises, steps, strict=True):
        worth = torch.zeros_like(rise, dtype=torch.bool)
        for limit, fraction in _WORTH:
            worth |= (rise < limit) & (rise < fraction * line.parabola)
        if worth.any():
            i = torch.where(worth, rise, torch.inf).argmin()
            starts.append((line.points[i] + step[i]).clamp(low, high))
            lowest.append(rise[i])
    if not lowest:
        return none
    return torch.stack(starts)[torch.stack(lowest).argsort()[:_N_STARTS]]


class _Line(NamedTuple):
    """Points along one label, and rises of chi2 predicted by the parabola."""

    column: int
    covariance: torch.Tensor  # of the free parameters and the label, otherwise zero
    points: torch.Tensor
    parabola: torch.Tensor


def _covariance(normal, free, column=None):
    """Covariance of free parameters and one in `column`, if any; zero for others."""
    moving = free.clone()
    if column is not None:
        moving[column] = True
    return free_covariance(normal[None], moving[None])[0]


def _weak_labels(low, high, best, free, covariance, n_labels):
    """Columns of labels that the spectrum hardly constrains, or that are at a bound."""
    error = covariance.diagonal().sqrt()
    wide = free & ~(error <= _WEAK * (high - low) / 2)
    is_weak = wide | (~free & (low < high))
    is_weak[n_labels:] = False
    return torch.nonzero(is_weak)[:, 0].tolist()


def _line(covariance, best, low, high, column, n_labels):
    """Points along one label, which other labels follow, and the predicted rises."""
    position = best.new_tensor(_ALONG)
    value = (low[column] + high[column] + position * (high - low)[column]) / 2
    variance = covariance[column, column]
    move = value - best[column]
    parabola = move**2 / variance
    far = parabola > _FAR
    response = (covariance[:, column] / variance).nan_to_num(0.0, 0.0, 0.0)
    response[n_labels:] = 0.0
    response[column] = 1.0
    points = best + move[far][:, None] * response
    return points.clamp(low, high), parabola[far]


def _rises(problem, weights, fit, row, points, residual, lines):
    """Rises of chi2 at the points of each line, and linear steps of all parameters."""
    chi2, slope = chi2_and_slope(problem, fit, row, points, residual)
    rises, steps, first = [], [], 1
    for line in lines:
        rows = [0, *range(first, first + len(line.points))]
        first += len(line.points)
        column = torch.full((len(rows),), line.column, device=slope.device)
        step, fall = held_step(slope[rows], line.covariance, column)
        left = chi2[rows] - fall
        rises.append(left[1:] - left[0])
        steps.append(step[1:])
    return rises, steps


def _robust_rises(problem, weights, fit, row, points, residual, lines):
    """Rises of the robust objective at the points, and linear steps, as in `_rises`."""
    mean, weight = (part[row] for part in problem.prior)
    rises, steps, first = [], [], 1
    for line in lines:
        rows = [0, *range(first, first + len(line.points))]
        first += len(line.points)
        others = line.covariance.diagonal() != 0
        others[line.column] = False
        left, jacobian = residual[rows], fit.jacobian[row][others]
        moved = points[rows]
        total = torch.zeros_like(moved)
        for _ in range(_N_STEPS):
            ivar = weights.robust(left, row)
            slope = ((left * ivar) @ jacobian.to(left).mT).double()
            slope += (weight * (mean - moved - total))[:, others]
            normal = (jacobian * ivar[:, None]) @ jacobian.mT
            normal = normal.double() + torch.diag_embed(weight[others])
            step, _ = torch.linalg.solve_ex(normal, slope[..., None])
            step = step[..., 0].nan_to_num()
            left = left - step.to(left) @ jacobian.to(left)
            total[:, others] += step
        penalty = prior_penalty(moved + total, (mean, weight))
        objective = weights.compare(left, row) + penalty
        rises.append(objective[1:] - objective[0])
        steps.append(total[1:])
    return rises, steps
