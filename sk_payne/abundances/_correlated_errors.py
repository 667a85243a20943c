"""Covariance of fitted parameters for correlated errors of the pixels."""

import numpy as np
import torch

from sk_payne.abundances._exponential_errors import StarResiduals
from sk_payne.abundances._pixel_positions import pixel_positions

__all__ = ["covariance_by_residuals"]


def covariance_by_residuals(problem, fit, covariance, own_ivar):
    r"""Compute the covariance of parameters for the correlated errors of each star.

    The covariance V of the pixels is the sum of noise and of errors with an exponential
    kernel, whose size and length :class:`StarResiduals` fits to the residuals. The
    covariance of the fitted parameters [1]_ is, for any weights W of the fit,

    .. math:: C\, (J W V W J^\top + T)\, C, \qquad C = (J W J^\top + T)^{-1} ,

    with the derivatives J of the model and the inverse variances T of the priors.

    Parameters
    ----------
    problem : Problem
        Least-squares problem of B stars.
    fit : LeastSquaresFit
        Fits of these stars.
    covariance : Tensor of shape (B, K, K), float64
        C: zero for fixed parameters, with infinite variances of unconstrained ones.
    own_ivar : Tensor of shape (B, P)
        Inverse variances of the noise of the pixels.

    Returns
    -------
    covariance : Tensor of shape (B, K, K), float64
        Covariance in the variables of the fit.
    size, length : ndarray of shape (B,)
        1 sigma correlated error as a fraction of the continuum, and correlation length
        in km/s.

    References
    ----------
    .. [1] White, "A heteroskedasticity-consistent covariance matrix estimator and a
       direct test for heteroskedasticity", Econometrica 48, 817, 1980.
    """
    observed, n_parameters = problem.observed, covariance.shape[1]
    given = observed.block.observation.error_length
    given = None if isinstance(given, str) else given
    wavelength = observed.wavelength
    if wavelength is None:
        shape = observed.flux.shape
        wavelength = np.broadcast_to(observed.block.emulator.wavelength, shape)
    positions = pixel_positions(wavelength, observed.arm)
    free = torch.diagonal(covariance, dim1=1, dim2=2) > 0
    fixed = ~free.cpu()
    spread = np.zeros(covariance.shape)
    size, length = np.zeros((2, len(observed)))
    for row in range(len(observed)):
        derivatives = fit.jacobian[row].cpu().double()
        derivatives[fixed[row]] = 0.0
        if observed.basis is not None:
            own = problem.model.coefficient_derivatives(row, fit.parameters)
            derivatives = torch.cat([derivatives, own.cpu().double()])
        ivar = problem.ivar[row].cpu().double().numpy()
        good = ivar > 0
        root = np.sqrt(ivar[good])
        star = StarResiduals(
            residual=fit.residual[row].cpu().double().numpy()[good] * root,
            noise=ivar[good] / own_ivar[row].cpu().double().numpy()[good],
            continuum=observed.continuum[row, good] * root,
            positions=positions[row, good],
            derivatives=derivatives.numpy()[:, good] * root,
        )
        errors = star.find(given)
        size[row], length[row] = errors.size, errors.length
        spread[row] = star.spread(errors)[:n_parameters, :n_parameters]
    prior = torch.diag_embed(problem.prior[1] * free)
    seen = covariance.nan_to_num(posinf=0.0)
    found = seen @ (torch.from_numpy(spread).to(seen) + prior) @ seen
    return torch.where(torch.isinf(covariance), covariance, found), size, length
