"""Continuum of observed spectra: polynomials that are solved for at each step."""

import numpy as np
import torch

from sk_payne.spectra import is_gap

__all__ = ["ContinuumModel", "continuum_basis", "fit_continuum"]


class ContinuumModel:
    r"""A model times the continuum that suits the data best.

    The continuum is a combination of given functions. At every step it is solved for
    exactly, as flux is linear in it, and derivatives by the other parameters are made
    orthogonal to those by its coefficients c [1]_,

    .. math:: J_\perp = J - J_c^T (J_c W J_c^T)^{-1} J_c W J^T ,

    so that J W J^T is the normal matrix of the others with the continuum free.

    Parameters
    ----------
    model : object
        Of flux with a continuum of one, see `fit_least_squares`.
    flux, ivar : Tensor of shape (B, P)
        Observations.
    basis : Tensor of shape (B, C, P)
        Functions; rows of zeros are ignored.

    References
    ----------
    .. [1] Kaufman, "A variable projection method for solving separable nonlinear
       least squares problems", BIT 15, 49, 1975.
    """

    def __init__(self, model, flux, ivar, basis):
        self.model = model
        self.data = flux
        self.ivar = ivar
        self.basis = basis

    def flux(self, rows, parameters):
        """Flux of shape (n, P) of the stars `rows`."""
        flux = self.model.flux(rows, parameters)
        return flux * self._continuum(rows, flux)[0]

    def linearize(self, rows, parameters):
        """Flux of shape (n, P) and derivatives of shape (n, K, P)."""
        linear = self.model.linearize(rows, parameters)
        flux, jacobian = (part.to(self.data) for part in linear)
        return self._under_continuum(rows, flux, jacobian)

    def directions(self, rows, parameters, directions):
        """Bring changes (n, D, P) of the model under the continuum, as derivatives."""
        directions = self.model.directions(rows, parameters, directions)
        flux = self.model.flux(rows, parameters)
        return self._under_continuum(rows, flux, directions)[1]

    def is_positive(self, rows, parameters):
        """Whether the continuum is positive at all good pixels of the stars `rows`."""
        flux = self.model.flux(rows, parameters)
        continuum = self._continuum(rows, flux)[0]
        return ((continuum > 0) | (self.ivar[rows] <= 0)).all(1)

    def _under_continuum(self, rows, flux, jacobian):
        continuum, by_coefficient, normal = self._continuum(rows, flux)
        jacobian = jacobian * continuum[:, None]
        weighted = by_coefficient * self.ivar[rows][:, None]
        overlap = torch.linalg.solve(normal, (weighted @ jacobian.mT).double())
        jacobian = jacobian - overlap.to(jacobian).mT @ by_coefficient
        return flux * continuum, jacobian

    def _continuum(self, rows, flux):
        return _solve_continuum(
            flux, self.data[rows], self.ivar[rows], self.basis[rows]
        )


def _solve_continuum(flux, data, ivar, basis):
    """Give the best continuum, derivatives by its coefficients, and their matrix."""
    by_coefficient = basis * flux[:, None]
    weighted = by_coefficient * ivar[:, None]
    normal = (weighted @ by_coefficient.mT).double()
    right = torch.einsum("bcp,bp->bc", weighted, data).double()
    diagonal = torch.diagonal(normal, dim1=1, dim2=2)
    # a row of zeros gets a one, and far less than rounding is added to the others
    ridge = torch.where(diagonal > 0, 1e-14 * diagonal, torch.ones_like(diagonal))
    normal = normal + torch.diag_embed(ridge)
    coefficients = torch.linalg.solve(normal, right).to(basis)
    return torch.einsum("bc,bcp->bp", coefficients, basis), by_coefficient, normal


def continuum_basis(wavelength, ivar, degree, arm=None):
    """Polynomials for the continuum of each star, one set for each of its segments.

    Parameters
    ----------
    wavelength : ndarray of shape (B, P)
        In Å, increasing in each arm.
    ivar : ndarray of shape (B, P)
        Inverse variances, 0 for pixels to ignore.
    degree : int
        Of the polynomials.
    arm : ndarray of shape (B, P), default=None
        Arm of every pixel; each begins a new segment.

    Returns
    -------
    basis : ndarray of shape (B, C, P)
        Chebyshev polynomials over each segment, between gaps ten times as wide as the
        usual step, and zero elsewhere; degrees that a segment has too few pixels for
        are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._continuum import continuum_basis
    >>> wavelength = np.r_[5000:5010, 5100:5110][None].astype(float)
    >>> continuum_basis(wavelength, np.ones((1, 20)), degree=2).shape
    (1, 6, 20)
    """
    arm = np.zeros(wavelength.shape) if arm is None else arm
    segments = [
        _segments(w, i > 0, a) for w, i, a in zip(wavelength, ivar, arm, strict=True)
    ]
    n_rows = max(map(len, segments), default=0) * (degree + 1)
    basis = np.zeros((len(wavelength), n_rows, wavelength.shape[1]))
    for star, parts in enumerate(segments):
        for i, pixels in enumerate(parts):
            x = wavelength[star, pixels]
            centre, half = (x[0] + x[-1]) / 2, max((x[-1] - x[0]) / 2, 1e-300)
            n = min(degree + 1, len(pixels))
            rows = np.polynomial.chebyshev.chebvander((x - centre) / half, n - 1).T
            first = i * (degree + 1)
            basis[star, first : first + n, pixels] = rows.T
    return basis


def fit_continuum(flux, ivar, basis, model):
    """Fit the continuum of stars by that of a model.

    Parameters
    ----------
    flux, ivar : ndarray of shape (B, P)
        Observations.
    basis : ndarray of shape (B, C, P)
        From :func:`continuum_basis`.
    model : ndarray of shape (B, P)
        Normalised flux that they are about.

    Returns
    -------
    continuum : ndarray of shape (B, P)
        One where it is not known, or not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._continuum import continuum_basis, fit_continuum
    >>> wavelength, ivar = np.linspace(5000, 5010, 11)[None], np.ones((1, 11))
    >>> basis = continuum_basis(wavelength, ivar, degree=1)
    >>> fit_continuum(3 * ivar, ivar, basis, ivar).round(6)[0, :2]
    array([3., 3.])
    """
    arrays = (torch.tensor(a, device="cpu") for a in (model, flux, ivar, basis))
    continuum = _solve_continuum(*arrays)[0].numpy()
    return np.where(continuum > 0, continuum, 1.0)


def _segments(wavelength, good, arm):
    """Give the indices of the good pixels of each segment."""
    pixels = np.flatnonzero(good)
    if not len(pixels):
        return []
    gap = is_gap(wavelength[pixels]) | (np.diff(arm[pixels]) != 0)
    return np.split(pixels, np.flatnonzero(gap) + 1)
