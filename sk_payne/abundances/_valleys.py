r"""Other valleys of chi2: labels that hardly show may fit better far away.

chi2 may have several minima along labels that a spectrum hardly constrains: without
molecules in the spectrum, for instance, a fit cannot tell in which direction carbon
lies. Weak labels are therefore searched along their whole range.
"""

import torch

from sk_payne.abundances._normal_matrix import invert_normal_matrix, prior_penalty

__all__ = ["other_valleys"]

# Labels whose error exceeds this fraction of half of their range are weak.
_WEAK = 0.04

# Positions along the range of each weak label, between -1 and 1.
_ALONG = (-0.95, -0.6, -0.2, 0.2, 0.6, 0.95)

# Points are looked at if the parabola around the best fit says that chi2 rises by more
# than this on the way to them. A point is worth a fit if chi2 rises by less than some
# limit, and by less than a fraction of what the parabola says: (limit, fraction).
_FAR, _WORTH = 2.0, ((5.0, 0.25), (50.0, 0.1))

# Linear steps at each point if weights depend on residuals.
_N_STEPS = 2

# Largest number of fits from such points.
_N_STARTS = 4


@torch.no_grad()
def other_valleys(problem, weights, fit, row):
    r"""Find starts in other valleys of one star.

    Each weak label is moved along its range, and the other labels with it as the linear
    model around the best fit wants. At each point all other parameters take one more
    linear step,

    .. math:: N^{-1} J W r, \quad N = J W J^T ,

    with the residuals r at the point, derivatives J at the best fit, and weights W that
    follow from the residuals, if weights depend on the fit.

    Parameters
    ----------
    problem : Problem
        Problem of the stars.
    weights : Reweighting
        Weights of the pixels.
    fit : LeastSquaresFit
        Best fits so far.
    row : int
        Star.

    Returns
    -------
    starts : Tensor of shape (n, K)
        Starts in the variables of the fit, the most promising first; there may be none.
    """
    low, high, best = problem.low[row], problem.high[row], fit.parameters[row]
    normal = fit.normal_matrix[row]
    n_labels = problem.observed.block.parameters.n_labels
    # parameters at a bound stay there
    free = (low < best) & (best < high)
    none, lines = best.new_zeros(0, len(best)), []
    for column in _weak_labels(problem, normal, best, row, n_labels):
        others = free.clone()
        others[column] = False
        line, parabola = _line(normal, best, low, high, column, others, n_labels)
        if len(line):
            lines.append((others, line, parabola))
    if not lines:
        return none
    points = torch.cat([best[None], *(line for _, line, _ in lines)])
    residual = problem.flux[row] - problem.model.spectra(row, points)
    look = _look_robust if weights.is_needed else _look
    objectives, steps = look(problem, weights, fit, row, points, residual, lines)
    starts, rises = [], []
    for (_, line, parabola), rise, step in zip(lines, objectives, steps, strict=True):
        worth = torch.zeros_like(rise, dtype=torch.bool)
        for limit, fraction in _WORTH:
            worth |= (rise < limit) & (rise < fraction * parabola)
        if worth.any():
            i = torch.where(worth, rise, torch.inf).argmin()
            starts.append((line[i] + step[i]).clamp(low, high))
            rises.append(rise[i])
    if not rises:
        return none
    return torch.stack(starts)[torch.stack(rises).argsort()[:_N_STARTS]]


def _weak_labels(problem, normal, best, row, n_labels):
    """Columns of free labels that the spectrum hardly constrains."""
    low, high = problem.low[row], problem.high[row]
    error = invert_normal_matrix(normal[None])[0].diagonal().sqrt()
    at_edge = (best <= low) | (best >= high)
    wide = ~(error <= _WEAK * (high - low) / 2)
    is_weak = (low < high) & (wide | at_edge)
    is_weak[n_labels:] = False
    return torch.nonzero(is_weak)[:, 0].tolist()


def _line(normal, best, low, high, column, others, n_labels):
    """Points along one label, where other labels follow, and the rise of a parabola."""
    position = best.new_tensor(_ALONG)
    value = (low[column] + high[column] + position * (high - low)[column]) / 2
    cross = normal[others, column]
    response, _ = torch.linalg.solve_ex(normal[others][:, others], cross)
    response = response.nan_to_num()
    curvature = (normal[column, column] - cross @ response).clamp_min(0)
    parabola = curvature * (value - best[column]) ** 2
    far = parabola > _FAR
    value = value[far]
    line = best.repeat(len(value), 1)
    line[:, column] = value
    line[:, others] -= (value - best[column])[:, None] * response
    line[:, n_labels:] = best[n_labels:]
    return line.clamp(low, high), parabola[far]


def _look(problem, weights, fit, row, points, residual, lines):
    """Rises of chi2 at the points of each line, and linear steps of all parameters."""
    mean, weight = (part[row] for part in problem.prior)
    weighted = residual * problem.ivar[row]
    chi2 = (weighted * residual).sum(1).double()
    chi2 += prior_penalty(points, (mean, weight))
    slope = (weighted @ fit.jacobian[row].to(weighted).mT).double()
    slope += weight * (mean - points)
    rises, steps, first = [], [], 1
    for others, line, _ in lines:
        rows = [0, *range(first, first + len(line))]
        first += len(line)
        normal = fit.normal_matrix[row][others][:, others]
        right = slope[rows][:, others]
        step, _ = torch.linalg.solve_ex(normal, right.mT)
        step = step.mT.nan_to_num()
        left = chi2[rows] - (right * step).sum(1)
        rises.append(left[1:] - left[0])
        full = torch.zeros_like(line)
        full[:, others] = step[1:]
        steps.append(full)
    return rises, steps


def _look_robust(problem, weights, fit, row, points, residual, lines):
    """Rises of what is compared, with weights that follow from the residuals."""
    mean, weight = (part[row] for part in problem.prior)
    rises, steps, first = [], [], 1
    for others, line, _ in lines:
        rows = [0, *range(first, first + len(line))]
        first += len(line)
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
