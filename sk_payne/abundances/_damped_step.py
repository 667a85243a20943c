"""One damped step of least squares within bounds, for many stars at once."""

import numpy as np
import torch
from scipy.linalg.lapack import dgesv

from sk_payne.abundances._normal_matrix import times

__all__ = ["damped_step"]


def damped_step(normal, gradient, parameters, low, high, damping, scale, unit, xp):
    """Solve for the step within the bounds and predict the fall of chi2.

    A parameter that would cross its bound stops there, and the others are solved for
    again: if the step were only cut, they would compensate for a change not made.

    Parameters
    ----------
    normal : array of shape (n, K, K)
        Normal matrix, or another model of half the curvature of chi2.
    gradient : array of shape (n, K)
        Minus half the gradient of chi2.
    parameters, low, high : array of shape (n, K)
        Present parameters and their bounds.
    damping : array of shape (n,)
        Fraction of the diagonal of the matrix that is added to it.
    scale : array of shape (n, K)
        Square roots of the diagonal of the normal matrix.
    unit : array of shape (K, K)
        Unit matrix.
    xp : module
        Module of the arrays, numpy or torch.

    Returns
    -------
    step : array of shape (n, K)
        Change of the parameters.
    predicted : array of shape (n,)
        Fall of chi2 that the matrix predicts.
    """
    fixed = ((parameters <= low) & (gradient <= 0)) | (
        (parameters >= high) & (gradient >= 0)
    )
    scaled = normal / (scale[:, :, None] * scale[:, None, :])
    slope = gradient / scale
    lowest, highest = (low - parameters) * scale, (high - parameters) * scale
    step = 0.0 * slope
    for _ in range(slope.shape[1]):
        step = _solve_free(scaled, slope, damping, step, ~fixed, unit, xp)
        crossing = ~fixed & ((step < lowest) | (step > highest))
        if not crossing.any():
            break
        step = xp.where(crossing, step.clip(lowest, highest), step)
        fixed = fixed | crossing
    step = step.clip(lowest, highest)
    predicted = (step * (2 * slope - times(scaled, step))).sum(1)
    return step / scale, predicted


def _solve_free(scaled, slope, damping, step, free, unit, xp):
    """Solve for the free parameters of a step; the others are given."""
    step = xp.where(free, 0.0, step)
    right = (slope - times(scaled, step)) * free
    matrix = scaled * (free[:, :, None] & free[:, None, :])
    diagonal = matrix.diagonal(0, 1, 2)
    # a fixed parameter, or one without any effect, gets a row of the unit matrix
    filling = xp.where(diagonal > 0, damping[:, None] * diagonal, 1.0)
    solution = _solve(matrix + filling[:, None] * unit, right)
    return xp.where(free, xp.where(xp.isfinite(solution), solution, 0.0), step)


def _solve(matrix, right):
    """Solve systems of equations; solutions of singular ones are arbitrary."""
    if isinstance(matrix, torch.Tensor):
        return torch.linalg.solve_ex(matrix, right[..., None])[0][..., 0]
    pairs = zip(matrix, right, strict=True)
    return np.array([dgesv(m, r)[2] for m, r in pairs]).reshape(right.shape)
