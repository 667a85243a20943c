"""Linear steps from other points of one star, with the derivatives at its best fit."""

import torch

from sk_payne.abundances._normal_matrix import prior_penalty

__all__ = ["chi2_and_slope", "held_step"]


def chi2_and_slope(problem, fit, row, points, residual):
    """Compute chi2 of one star at some points, and minus half of its gradient.

    Parameters
    ----------
    problem : Problem
        Least-squares problem of the stars.
    fit : LeastSquaresFit
        Best fits, whose derivatives are taken at all points.
    row : int
        Row of the star.
    points : Tensor of shape (n, K)
        Points in the variables of the fit.
    residual : Tensor of shape (n, P)
        Observed flux minus model at the points.

    Returns
    -------
    chi2 : Tensor of shape (n,), float64
        chi2, priors included.
    slope : Tensor of shape (n, K), float64
        J W r, with the pull of the priors.
    """
    mean, weight = (part[row] for part in problem.prior)
    weighted = residual * problem.ivar[row]
    chi2 = (weighted * residual).sum(1).double()
    chi2 += prior_penalty(points, (mean, weight))
    slope = (weighted @ fit.jacobian[row].to(weighted).mT).double()
    slope += weight * (mean - points)
    return chi2, slope


def held_step(slope, covariance, column):
    """Step to the minimum of a parabola while one parameter is held.

    Parameters
    ----------
    slope : Tensor of shape (n, K), float64
        From :func:`chi2_and_slope`.
    covariance : Tensor of shape (K, K), float64
        Covariance of the free parameters; zero for the others.
    column : Tensor of shape (n,), int64
        Parameter that each point holds.

    Returns
    -------
    step : Tensor of shape (n, K)
        Step of each point.
    fall : Tensor of shape (n,)
        Fall of chi2 by the step.
    """
    known = covariance.nan_to_num(0.0, 0.0, 0.0)
    variance = covariance.diagonal()[column]
    # step of all parameters, then without that of the held one
    step = slope @ known
    moved = step.gather(1, column[:, None])[:, 0]
    scale = torch.where(torch.isfinite(variance), 1 / variance, 0.0)
    fall = (slope * step).sum(1) - moved**2 * scale
    return step - (moved * scale)[:, None] * known.mT[column], fall
