"""Effects of emulator errors on fits: weights of pixels, errors of labels."""

import numpy as np
import torch

from sk_payne.abundances._model import on_grid
from sk_payne.abundances._normal_matrix import invert_normal_matrix
from sk_payne.abundances._parameters import VELOCITY
from sk_payne.abundances._starts import resample_roughly
from sk_payne.spectra import doppler_factor

__all__ = [
    "covariance_by_emulator",
    "displacements_by_emulator",
    "effective_freedom",
    "flux_error",
    "flux_error_at",
]


def flux_error(observed, labels):
    """Return the 1 sigma error of the emulator at the pixels of stars.

    Parameters
    ----------
    observed : ObservedStars
        The B stars.
    labels : ndarray of shape (B, n_labels) or None
        Labels of the stars, in their units; None for those of the earlier fit, or a
        guess.

    Returns
    -------
    error : ndarray of shape (B, P) or None
        1 sigma error as a fraction of the continuum; None if unknown or ignored.
    """
    if not _counts(observed.block):
        return None
    labels = observed.likely_labels if labels is None else labels
    rest = None if observed.wavelength is None else observed.rest_wavelength
    return flux_error_at(observed.block, labels, rest)


def flux_error_at(block, labels, rest):
    """Return the 1 sigma error of the emulator for any labels and wavelengths.

    Parameters
    ----------
    block : StarBlock
        Stars, for their emulator and observation.
    labels : ndarray of shape (n, n_labels)
        Labels in their units.
    rest : ndarray of shape (n, P) or None
        Wavelengths at rest in Å; None for the grid of the emulator.

    Returns
    -------
    error : ndarray of shape (n, P) or None
        1 sigma error as a fraction of the continuum; None if unknown or ignored.
    """
    if not _counts(block):
        return None
    model = block.emulator.error_model
    scale = model.scale[None]
    if rest is not None:
        scale = np.interp(rest, block.emulator.wavelength, model.scale)
    return model.growth(labels)[:, None] * scale


def _counts(block):
    """Check whether errors of the emulator are known, and are to be counted."""
    return block.emulator.error_model is not None and block.observation.emulator_error


def covariance_by_emulator(problem, variables, normal):
    """Return the covariance of labels due to the error of the emulator.

    Independent errors of pixels are part of the errors of the spectrum. This covariance
    is due to errors that are correlated along the spectrum, see `LabelErrors`.

    Parameters
    ----------
    problem : Problem
        Problem of B stars.
    variables : Tensor of shape (B, K), float64
        Best fits.
    normal : Tensor of shape (B, K, K), float64
        Normal matrices at the best fits, priors included.

    Returns
    -------
    covariance : ndarray of shape (B, K, K) or None
        Covariance of the variables of the fit; zero for fixed parameters and for those
        that are no labels. None if it is unknown or ignored.
    """
    observed, block = problem.observed, problem.observed.block
    emulator = block.emulator
    if emulator.label_errors is None or not block.observation.emulator_error:
        return None
    n_labels, free = block.parameters.n_labels, ~observed.constraints.is_fixed
    labels = variables[:, :n_labels].cpu().numpy()
    used = _used(observed, problem.ivar, variables)
    information = _information(emulator, labels, used)
    fitted = free[:, :n_labels]
    both = fitted[:, :, None] & fitted[:, None]
    of_labels = emulator.label_errors.covariance(
        labels,
        np.where(both, information, 0.0),
        emulator.fraction * used.mean(axis=1),
    )
    covariance = np.zeros(normal.shape)
    covariance[:, :n_labels, :n_labels] = np.where(both, of_labels, 0.0)
    return _pulled(covariance, problem.prior[1], normal, free)


def displacements_by_emulator(problem, fit, n, seeds):
    """Draw displacements of labels due to the error of the emulator.

    Parameters
    ----------
    problem : Problem
        Problem of B stars.
    fit : LeastSquaresFit
        Their best fits.
    n : int
        Number of draws per star.
    seeds : list of int
        Seeds of the random numbers of each star.

    Returns
    -------
    displacements : Tensor of shape (B, n, K) or None
        Displacements in the variables of the fit, from a multivariate t distribution;
        None if the error is unknown or ignored.
    """
    covariance = covariance_by_emulator(problem, fit.parameters, fit.normal_matrix)
    if covariance is None:
        return None
    freedom = float(problem.observed.block.emulator.label_errors.degrees_of_freedom[0])
    value, vector = np.linalg.eigh(covariance)
    root = vector * np.sqrt(value.clip(0))[:, None]
    drawn = np.empty((len(covariance), n, covariance.shape[1]))
    for star, seed in enumerate(seeds):
        rng = np.random.default_rng([seed, 1])
        gauss = rng.standard_normal(drawn.shape[1:])
        scale = np.sqrt((freedom - 2) / rng.chisquare(freedom, n))
        drawn[star] = scale[:, None] * gauss @ root[star].T
    return torch.from_numpy(drawn).to(fit.parameters)


def effective_freedom(covariance, by_emulator, freedom):
    r"""Degrees of freedom of the t distribution of the errors of labels.

    Noise is Gaussian, errors of the emulator follow a t distribution. Their sum is
    about a t distribution whose scale has the same variance: with the fraction
    :math:`\rho = \mathrm{tr}(C^{-1} E) / K` of E in the covariance C of K labels,
    :math:`\nu' = 4 + (\nu - 4) / \rho^2`, since the variance of the scale is
    :math:`2 / (\nu - 4)`.

    Parameters
    ----------
    covariance : ndarray of shape (n, n_labels, n_labels)
        Covariance C of labels; rows and columns of fixed labels are zero.
    by_emulator : ndarray of shape (n, n_labels, n_labels)
        Part E of it that is due to errors of the emulator.
    freedom : float
        Degrees of freedom of errors of the emulator, more than 4.

    Returns
    -------
    effective : ndarray of shape (n,)
        Degrees of freedom; infinite without errors of the emulator.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._emulator_errors import effective_freedom
    >>> unit = np.eye(2)[None]
    >>> effective_freedom(2 * unit, unit, 14.0).round(6)
    array([44.])
    """
    diagonal = np.diagonal(covariance, axis1=1, axis2=2)
    known = (diagonal > 0) & np.isfinite(diagonal)
    both = known[:, :, None] & known[:, None]
    unit = np.eye(covariance.shape[1])
    scale = np.sqrt(np.where(known, diagonal, 1.0))
    scaled, part = (
        np.where(both, matrix, 0.0) / scale[:, :, None] / scale[:, None]
        for matrix in (covariance, by_emulator)
    )
    scaled = scaled + unit * ~known[:, None]
    trace = np.trace(np.linalg.solve(scaled, part), axis1=1, axis2=2)
    share = np.clip(trace / np.maximum(known.sum(axis=1), 1), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        return 4 + (freedom - 4) / share**2


def _used(observed, ivar, variables):
    """Mask of the wavelengths of the emulator at good pixels of stars, (B, n_grid)."""
    ivar = ivar.cpu().numpy()
    if observed.wavelength is None:
        return ivar > 0
    block = observed.block
    velocity = observed.velocity
    if block.with_velocity:
        velocity = variables[:, block.parameters.index(VELOCITY)].cpu().numpy()
    rest = observed.wavelength / doppler_factor(velocity)[:, None]
    _, weight = resample_roughly(rest, observed.flux, ivar, block.emulator.wavelength)
    return weight.numpy() > 0


@torch.no_grad()
def _information(emulator, labels, used):
    """Sum J S^-2 J^T over the used wavelengths."""
    scaled = torch.from_numpy(labels).to(emulator.single.label_center)
    _, jacobian = on_grid(emulator.single, scaled)
    error = emulator.error_model.std(emulator.center + emulator.half_width * labels)
    weight = np.divide(1.0, error**2, out=np.zeros_like(error), where=error > 0)
    jacobian = jacobian.cpu().double()
    total = (jacobian * torch.from_numpy(weight * used)[:, None]) @ jacobian.mT
    return ((total + total.mT) / 2).numpy()


def _pulled(covariance, weight, normal, free):
    """Shrink the covariance of displacements, as priors pull fits back."""
    if not weight.any():
        return covariance
    free = torch.from_numpy(free).to(normal.device)
    weight = weight * free
    normal = normal * (free[:, None] & free[:, :, None])
    normal = normal + torch.diag_embed((~free).to(normal))
    inverse = invert_normal_matrix(normal).nan_to_num(posinf=0.0)
    pull = np.eye(normal.shape[1]) - (inverse * weight[:, None]).cpu().numpy()
    return pull @ covariance @ pull.transpose(0, 2, 1)
