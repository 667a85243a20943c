r"""Other valleys of chi2: labels that hardly show may fit better far away.

chi2 may have several minima along labels that a spectrum hardly constrains: without
molecules in the spectrum, for instance, a fit cannot tell in which direction carbon
lies. Weak labels are therefore searched along their whole range.
"""

import torch

from sk_payne.abundances._least_squares import invert_normal_matrix, prior_penalty

__all__ = ["other_valleys"]

# Labels whose error exceeds this fraction of half of their range are weak.
_WEAK = 0.05

# Positions along the range of each weak label, between -1 and 1.
_ALONG = (-0.95, -0.6, -0.2, 0.2, 0.6, 0.95)

# A point is worth a fit if the parabola around the best fit says that chi2 rises by
# more than this on the way to it, but chi2 rises by less than that fraction of it, and
# by less than this in all.
_FAR, _FLATTER, _NEAR = 2.0, 0.25, 5.0

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
    lines, rises, starts = [], [], [best.new_zeros(0, len(best))]
    for column in _weak_labels(problem, normal, best, row, n_labels):
        others = free.clone()
        others[column] = False
        line = _line(normal, best, low, high, column, others, n_labels)
        parabola = (line - best)[:, column] ** 2 * _curvature(normal, column, others)
        far = parabola > _FAR
        if far.any():
            lines.append((others, line[far], parabola[far]))
    if not lines:
        return starts[0]
    residuals = _residuals(problem, row, [best[None], *(line for _, line, _ in lines)])
    for (others, line, parabola), residual in zip(lines, residuals[1:], strict=True):
        line, residual = (
            torch.cat([best[None], line]),
            torch.cat([residuals[0], residual]),
        )
        objective, step = _profile(problem, weights, fit, row, line, residual, others)
        rise = objective[1:] - objective[0]
        worth = (rise < _FLATTER * parabola) & (rise < _NEAR)
        if worth.any():
            i = torch.where(worth, rise, torch.inf).argmin()
            line[:, others] += step
            starts.append(line[i + 1 : i + 2].clamp(low, high))
            rises.append(rise[i])
    if not rises:
        return starts[0]
    return torch.cat(starts)[torch.stack(rises).argsort()[:_N_STARTS]]


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
    """Points along one label, where other labels follow as the linear model wants."""
    position = best.new_tensor(_ALONG)
    value = (low[column] + high[column] + position * (high - low)[column]) / 2
    response, _ = torch.linalg.solve_ex(
        normal[others][:, others], normal[others, column]
    )
    line = best.repeat(len(value), 1)
    line[:, column] = value
    line[:, others] -= (value - best[column])[:, None] * response.nan_to_num()
    line[:, n_labels:] = best[n_labels:]
    return line.clamp(low, high)


def _residuals(problem, row, lines):
    """Residuals at the points of all lines."""
    residual = problem.flux[row] - problem.model.spectra(row, torch.cat(lines))
    return residual.split([len(line) for line in lines])


def _profile(problem, weights, fit, row, points, residual, others):
    """Give the objective at points after a linear step of others, and that step."""
    jacobian = fit.jacobian[row][others]
    mean, weight = (part[row] for part in problem.prior)
    total = torch.zeros_like(points)[:, others]
    for _ in range(_N_STEPS if weights.is_needed else 1):
        ivar = weights.robust(residual, row)
        slope = ((residual * ivar) @ jacobian.mT).double()
        slope += (weight * (mean - points))[:, others] - weight[others] * total
        if weights.is_needed:
            normal = (jacobian * ivar[:, None]) @ jacobian.mT
            normal = normal.double() + torch.diag_embed(weight[others])
        else:
            normal = fit.normal_matrix[row][others][:, others]
        step, _ = torch.linalg.solve_ex(normal, slope[..., None])
        step = step[..., 0].nan_to_num()
        residual = residual - step.to(residual) @ jacobian
        total += step
    moved = points.clone()
    moved[:, others] += total
    penalty = prior_penalty(moved, (mean, weight))
    return weights.compare(residual, row) + penalty, total


def _curvature(normal, column, others):
    """Second derivative of half of chi2 by one label with the others free."""
    cross = normal[others, column]
    inner, _ = torch.linalg.solve_ex(normal[others][:, others], cross)
    return (normal[column, column] - cross @ inner.nan_to_num()).clamp_min(0)
