"""Intervals of 68 % around best fits: Gaussian, or from the profile of chi2."""

import numpy as np
import torch

from sk_payne.abundances._linear_step import chi2_and_slope, held_step
from sk_payne.abundances._normal_matrix import free_covariance
from sk_payne.abundances._observed import observe_again
from sk_payne.abundances._profile import find_limit, variances
from sk_payne.abundances._search import fit_again

__all__ = ["add_intervals"]

# chi2 of a Gaussian parameter rises by 1 at one standard deviation, within this.
_TOLERANCE = 0.2

# Tolerance of the square root of the rise of chi2 at the ends of intervals.
_NEAR = 0.03


def add_intervals(block, results):
    r"""Add intervals of 68 % to best fits, from the profile of chi2 where needed.

    The interval of a Gaussian parameter ends one standard deviation from the best fit.
    A parameter counts as Gaussian if both ends are inside its bounds, and chi2 rises by
    1 +- 0.2 on the way to each of them while the other parameters follow the
    covariance. The interval of any other parameter ends where chi2, with all other
    parameters fitted again, has risen by 1, or at its bounds [1]_. chi2 does not
    include errors of the emulator that displace labels: the rise is multiplied by the
    ratio of the variances with and without them.

    Parameters
    ----------
    block : StarBlock
        Stars.
    results : Measurements
        Their best fits.

    Returns
    -------
    results : Measurements
        A copy with `interval` and `from_profile`.

    References
    ----------
    .. [1] Rolke, Lopez & Conrad, "Limits and confidence intervals in the presence of
       nuisance parameters", Nucl. Instrum. Meth. A 551, 493, 2005.
    """
    results = results.with_intervals(of_samples=False)
    observed = observe_again(block, results)
    if not len(observed):
        return results
    problem, fit = fit_again(observed)
    noise, total = variances(problem, fit)
    is_free = torch.from_numpy(~observed.constraints.is_fixed).to(noise.device)
    error, best = total.sqrt(), fit.parameters
    ends = torch.stack([best - error, best + error], dim=2)
    outside = (ends[:, :, 0] < problem.low) | (ends[:, :, 1] > problem.high)
    from_profile = is_free & (outside | ~_is_parabola(problem, fit))
    for column in torch.nonzero(from_profile.any(0))[:, 0].tolist():
        ratio = (total / noise)[:, column].sqrt().nan_to_num(1.0)
        bounds = problem.low[:, column], problem.high[:, column]
        for side, (sign, bound) in enumerate(zip((-1.0, 1.0), bounds, strict=True)):
            limit = find_limit(fit, problem, column, sign, ratio, near=_NEAR)
            limit = torch.where(torch.isfinite(limit), limit, bound)
            chosen = from_profile[:, column]
            ends[chosen, column, side] = limit[chosen]
    ends = torch.where(is_free[:, :, None], ends, best[:, :, None]).cpu().numpy()
    rows, parameters = observed.rows, block.parameters
    for side in range(2):
        results.interval[rows, :, side] = np.where(
            observed.constraints.is_fixed,
            observed.constraints.value,
            parameters.from_fit(ends[:, :, side]),
        )
    results.from_profile[rows] = from_profile.cpu().numpy()
    return results


@torch.no_grad()
def _is_parabola(problem, fit):
    """Check whether chi2 rises by 1 at one standard deviation of parameters (B, K).

    A label is moved, and other labels follow by their covariance, and all parameters by
    one linear step with the derivatives at the best fit. Parameters at a bound stay
    there, and are no parabolas. Other parameters than labels are not checked.
    """
    n_labels = problem.observed.block.parameters.n_labels
    free = (problem.low < fit.parameters) & (fit.parameters < problem.high)
    covariance = free_covariance(fit.normal_matrix, free)
    is_parabola = free.clone()
    for row, best in enumerate(fit.parameters):
        which = torch.nonzero(free[row, :n_labels])[:, 0]
        moves = covariance[row, which]
        moves = moves / moves.gather(1, which[:, None]).sqrt()
        moves[:, n_labels:] = 0.0
        points = best + torch.cat([-moves, moves])
        points = points.clamp(problem.low[row], problem.high[row])
        residual = problem.flux[row] - problem.model.spectra(row, points)
        chi2, slope = chi2_and_slope(problem, fit, row, points, residual)
        _, fall = held_step(slope, covariance[row], which.repeat(2))
        rise = (chi2 - fall - fit.chi2[row]).reshape(2, -1)
        is_parabola[row, which] = ((rise - 1).abs() < _TOLERANCE).all(0)
    return is_parabola
