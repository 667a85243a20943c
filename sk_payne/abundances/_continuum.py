"""Continuum of observed spectra: a polynomial for each segment.

Flux is linear in the coefficients, so they are solved for exactly at every step of a
fit. The polynomials of one segment vanish in all others: sums over pixels are taken
segment by segment.
"""

from itertools import pairwise

import numpy as np
import torch

from sk_payne.spectra import is_gap

__all__ = ["ContinuumBasis", "ContinuumModel", "continuum_basis", "fit_continuum"]

# Part of a diagonal element of the normal matrix that is added to it: far less than
# rounding adds to the others.
_RIDGE = 1e-14


class ContinuumBasis:
    """Polynomials of the segments of stars.

    Parameters
    ----------
    polynomials : Tensor of shape (B, D, P)
        Of the segment that a pixel belongs to; zero at bad pixels, and where a segment
        has too few good pixels for a degree.
    segment : Tensor of int, shape (B, P)
        Number of the segment of each pixel, from 0 and without steps back.
    layout : tuple, default=None
        Runs of pixels within one segment of every star, and the largest number of
        segments; found if None.

    Attributes
    ----------
    polynomials, segment
        As above.
    n_segments : ndarray of int, shape (B,)
        Segments with good pixels.
    n_coefficients : ndarray of int, shape (B,)
        Coefficients of their polynomials.
    """

    def __init__(self, polynomials, segment, layout=None):
        self.polynomials, self.segment = polynomials, segment
        self._layout = _lay_out(segment) if layout is None else layout
        self._pieces, self._n_largest = self._layout

    def __len__(self):
        return len(self.polynomials)

    def __getitem__(self, rows):
        """Give the basis of some stars."""
        parts = self.polynomials[rows], self.segment[rows]
        return ContinuumBasis(*parts, self._layout)

    def to(self, values):
        """Give the basis in the precision and on the device of a tensor."""
        parts = self.polynomials.to(values), self.segment.to(values.device)
        return ContinuumBasis(*parts, self._layout)

    @property
    def n_segments(self):
        return (self._n_by_segment() > 0).sum(axis=1)

    @property
    def n_coefficients(self):
        return self._n_by_segment().sum(axis=1)

    def products(self, left, right):
        """Sum products over the pixels of each segment.

        Parameters
        ----------
        left : Tensor of shape (B, M, P)
            Functions of the pixels.
        right : Tensor of shape (B, K, P)
            Others.

        Returns
        -------
        products : Tensor of float64, shape (B, S, M, K)
            For each of S segments.
        """
        if len(self._pieces) == 1:
            return (left @ right.mT).double()[:, None]
        n, n_left, _ = left.shape
        shape = n, self._n_largest, n_left, right.shape[1]
        total = torch.zeros(shape, dtype=torch.float64, device=left.device)
        rows = torch.arange(n, device=left.device)
        for pixels in self._pieces:
            part = left[..., pixels] @ right[..., pixels].mT
            total[rows, self.segment[:, pixels.start]] += part.double()
        return total

    def combine(self, coefficients, functions):
        """Combine functions of the pixels by coefficients of their segment.

        Parameters
        ----------
        coefficients : Tensor of shape (B, S, K, M)
            For each segment.
        functions : Tensor of shape (B, M, P)
            Of the pixels.

        Returns
        -------
        combined : Tensor of shape (B, K, P)
            In the precision of the functions.
        """
        coefficients = coefficients.to(functions)
        if len(self._pieces) == 1:
            return coefficients[:, 0] @ functions
        rows = torch.arange(len(self), device=functions.device)
        parts = [
            coefficients[rows, self.segment[:, pixels.start]] @ functions[..., pixels]
            for pixels in self._pieces
        ]
        return torch.cat(parts, dim=-1)

    def _n_by_segment(self):
        """Polynomials of each segment that are not zero, of shape (B, S)."""
        segment = self.segment.cpu()
        shape = len(self), self._n_largest, self.polynomials.shape[1]
        used = torch.zeros(shape, dtype=torch.bool, device="cpu")
        rows = torch.arange(len(self), device="cpu")
        for pixels in self._pieces:
            some = (self.polynomials[..., pixels] != 0).any(-1).cpu()
            used[rows, segment[:, pixels.start]] |= some
        return used.sum(-1).numpy()


class ContinuumModel:
    r"""A model times the continuum that suits the data best.

    At every step the coefficients c are solved for, and derivatives by the other
    parameters are made orthogonal to those by the coefficients [1]_,

    .. math:: J_\perp = J - J_c^T (J_c W J_c^T)^{-1} J_c W J^T ,

    so that J W J^T is the normal matrix of the others with the continuum free.

    Parameters
    ----------
    model : object
        Of flux with a continuum of one, see `fit_least_squares`.
    flux, ivar : Tensor of shape (B, P)
        Observations.
    basis : ContinuumBasis
        Of the B stars, in the precision of the flux.

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

    def spectra(self, row, parameters):
        """Give spectra (n, P) of one star with other labels, each with its continuum.

        Continua follow linearly from the change of the flux against the first row.
        """
        flux = self.model.spectra(row, parameters).to(self.data)
        rows = torch.tensor([row], device=flux.device)
        basis = self.basis[rows]
        continuum, by_coefficient, normal = self._continuum(rows, flux[:1], basis)
        flux = flux * continuum
        residual = (self.data[rows] - flux)[None]
        weighted = by_coefficient * self.ivar[rows][:, None]
        change = torch.linalg.solve(normal, basis.products(weighted, residual))
        return flux + basis.combine(change.mT, by_coefficient)[0]

    def directions(self, rows, parameters, directions):
        """Bring changes (n, D, P) of the model under the continuum, as derivatives."""
        directions = self.model.directions(rows, parameters, directions)
        flux = self.model.flux(rows, parameters)
        return self._under_continuum(rows, flux, directions)[1]

    def coefficient_derivatives(self, row, parameters):
        """Give derivatives (n, P) of one star by all coefficients of its continuum."""
        rows = torch.tensor([row], device=self.data.device)
        flux = self.model.flux(rows, parameters[rows])
        basis = self.basis[rows]
        by_degree = (basis.polynomials * flux[:, None])[0]
        segments = basis.segment[0].unique()[:, None] == basis.segment[0]
        found = (by_degree[:, None] * segments).flatten(0, 1)
        return found[(found != 0).any(1)]

    def is_positive(self, rows, parameters):
        """Whether the continuum is positive at all good pixels of the stars `rows`."""
        flux = self.model.flux(rows, parameters)
        continuum = self._continuum(rows, flux)[0]
        return ((continuum > 0) | (self.ivar[rows] <= 0)).all(1)

    def _under_continuum(self, rows, flux, jacobian):
        basis = self.basis[rows]
        continuum, by_coefficient, normal = self._continuum(rows, flux, basis)
        jacobian = jacobian * continuum[:, None]
        weighted = by_coefficient * self.ivar[rows][:, None]
        overlap = torch.linalg.solve(normal, basis.products(weighted, jacobian))
        jacobian = jacobian - basis.combine(overlap.mT, by_coefficient)
        return flux * continuum, jacobian

    def _continuum(self, rows, flux, basis=None):
        basis = self.basis[rows] if basis is None else basis
        return _solve_continuum(flux, self.data[rows], self.ivar[rows], basis)


def _solve_continuum(flux, data, ivar, basis):
    """Give the best continuum, derivatives by its coefficients, and their matrix."""
    by_coefficient = basis.polynomials * flux[:, None]
    weighted = by_coefficient * ivar[:, None]
    normal = basis.products(weighted, by_coefficient)
    right = basis.products(weighted, data[:, None])
    diagonal = torch.diagonal(normal, dim1=2, dim2=3)
    # a polynomial that is zero gets a one
    ridge = torch.where(diagonal > 0, _RIDGE * diagonal, torch.ones_like(diagonal))
    normal = normal + torch.diag_embed(ridge)
    coefficients = torch.linalg.solve(normal, right)
    continuum = basis.combine(coefficients.mT, basis.polynomials)[:, 0]
    return continuum, by_coefficient, normal


def continuum_basis(wavelength, ivar, degree, arm=None):
    """Polynomials for the continuum of each star, one set for each of its segments.

    A segment ends at a gap of the wavelengths, a step of more than ten times the median
    step of the arm, and where an arm ends. Bad pixels end no segment.

    Parameters
    ----------
    wavelength : ndarray of shape (B, P)
        In Å, increasing in each arm; those of bad pixels count as well.
    ivar : ndarray of shape (B, P)
        Inverse variances, 0 for pixels to ignore.
    degree : int
        Of the polynomials.
    arm : ndarray of shape (B, P), default=None
        Arm of every pixel.

    Returns
    -------
    basis : ContinuumBasis
        Chebyshev polynomials from the first to the last good pixel of each segment. A
        segment of n good pixels has a degree of n - 1 at most.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._continuum import continuum_basis
    >>> wavelength = np.r_[5000:5010, 5100:5110][None].astype(float)
    >>> basis = continuum_basis(wavelength, np.ones((1, 20)), degree=2)
    >>> basis.n_segments, basis.n_coefficients
    (array([2]), array([6]))
    """
    arm = np.zeros(wavelength.shape) if arm is None else arm
    polynomials = np.zeros((len(wavelength), degree + 1, wavelength.shape[1]))
    segment = np.zeros(wavelength.shape, dtype=np.int64)
    for star, good in enumerate(ivar > 0):
        segment[star] = _number_segments(wavelength[star], arm[star])
        pixels = np.flatnonzero(good)
        edges = np.flatnonzero(np.diff(segment[star, pixels])) + 1
        for mine in np.split(pixels, edges) if len(pixels) else []:
            x = wavelength[star, mine]
            centre, half = (x[0] + x[-1]) / 2, max((x[-1] - x[0]) / 2, 1e-300)
            n = min(degree + 1, len(mine))
            rows = np.polynomial.chebyshev.chebvander((x - centre) / half, n - 1)
            polynomials[star, :n, mine] = rows
    return ContinuumBasis(
        torch.tensor(polynomials, device="cpu"), torch.tensor(segment, device="cpu")
    )


def fit_continuum(flux, ivar, basis, model):
    """Fit the continuum of stars by that of a model.

    Parameters
    ----------
    flux, ivar : ndarray of shape (B, P)
        Observations.
    basis : ContinuumBasis
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
    arrays = (torch.tensor(a, device="cpu") for a in (model, flux, ivar))
    continuum = _solve_continuum(*arrays, basis)[0].numpy()
    return np.where(continuum > 0, continuum, 1.0)


def _lay_out(segment):
    """Find runs of pixels within one segment of every star, and count segments."""
    changes = (segment[:, 1:] != segment[:, :-1]).any(0)
    edges = 1 + torch.nonzero(changes)[:, 0].cpu().numpy()
    edges = [0, *edges.tolist(), segment.shape[1]]
    return [slice(*pair) for pair in pairwise(edges)], int(segment.max()) + 1


def _number_segments(wavelength, arm):
    """Give the number of the segment of each pixel of a star, of shape (P,)."""
    ends = np.diff(arm) != 0
    for mine in np.split(np.arange(len(arm)), np.flatnonzero(ends) + 1):
        ends[mine[:-1]] = is_gap(wavelength[mine])
    return np.concatenate([[0], np.cumsum(ends)])
