"""Continuum of observed spectra: a polynomial for each segment.

Flux is linear in the coefficients, so a linear system is solved for them at each step
of a fit. The polynomials of a segment are zero in all others, so sums over pixels are
computed for each segment.
"""

from itertools import pairwise

import numpy as np
import torch

from sk_payne.spectra import is_gap

__all__ = ["ContinuumBasis", "ContinuumModel", "continuum_basis", "fit_continuum"]

# Fraction of the diagonal that is added to the normal matrix: below rounding errors.
_RIDGE = 1e-14


class ContinuumBasis:
    """Polynomials of the segments of stars.

    Parameters
    ----------
    polynomials : Tensor of shape (B, D, P)
        Polynomials of the segment of each pixel; zero at bad pixels, and for degrees
        too high for the number of good pixels of a segment.
    segment : Tensor of int, shape (B, P)
        Number of the segment of each pixel, from 0 and never decreasing.
    layout : tuple, default=None
        Slices of pixels that are in one segment of every star, and the largest number
        of segments; computed if None.

    Attributes
    ----------
    polynomials, segment
        Parameters of the same names.
    n_segments : ndarray of int, shape (B,)
        Number of segments with good pixels.
    n_coefficients : ndarray of int, shape (B,)
        Number of coefficients of all segments.
    """

    def __init__(self, polynomials, segment, layout=None):
        self.polynomials, self.segment = polynomials, segment
        self._layout = _lay_out(segment) if layout is None else layout
        self._pieces, self._n_largest = self._layout

    def __len__(self):
        return len(self.polynomials)

    def __getitem__(self, rows):
        """Return the basis of some stars."""
        parts = self.polynomials[rows], self.segment[rows]
        return ContinuumBasis(*parts, self._layout)

    def to(self, values):
        """Convert the basis to the precision and the device of a tensor."""
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
            First factors.
        right : Tensor of shape (B, K, P)
            Second factors.

        Returns
        -------
        products : Tensor of float64, shape (B, S, M, K)
            Sums for each of S segments.
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
            Coefficients for each segment.
        functions : Tensor of shape (B, M, P)
            Functions of the pixels.

        Returns
        -------
        combined : Tensor of shape (B, K, P)
            Sums of coefficients times functions, in the precision of the functions.
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
        """Count the non-zero polynomials of each segment, of shape (B, S)."""
        segment = self.segment.cpu()
        shape = len(self), self._n_largest, self.polynomials.shape[1]
        used = torch.zeros(shape, dtype=torch.bool, device="cpu")
        rows = torch.arange(len(self), device="cpu")
        for pixels in self._pieces:
            some = (self.polynomials[..., pixels] != 0).any(-1).cpu()
            used[rows, segment[:, pixels.start]] |= some
        return used.sum(-1).numpy()


class ContinuumModel:
    r"""Model times the continuum of smallest chi2.

    The best coefficients are computed at each step. Derivatives by the other parameters
    are made orthogonal to the derivatives :math:`J_c` by the coefficients [1]_,

    .. math:: J_\perp = J - J_c^T (J_c W J_c^T)^{-1} J_c W J^T ,

    so :math:`J_\perp W J_\perp^T` is the normal matrix of the other parameters with
    free coefficients.

    Parameters
    ----------
    model : object
        Model of flux with a continuum of one, see `fit_least_squares`.
    flux, ivar : Tensor of shape (B, P)
        Observed flux and inverse variances.
    basis : ContinuumBasis
        Polynomials of the B stars, in the precision of the flux.

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
        """Compute flux (n, P) of the stars `rows`."""
        flux = self.model.flux(rows, parameters)
        return flux * self._continuum(rows, flux)[0]

    def linearize(self, rows, parameters):
        """Compute flux (n, P) and derivatives (n, K, P) of the stars `rows`."""
        linear = self.model.linearize(rows, parameters)
        flux, jacobian = (part.to(self.data) for part in linear)
        return self._apply_continuum(rows, flux, jacobian)

    def spectra(self, row, parameters):
        """Compute spectra (n, P) of one star with any labels, each with its continuum.

        The continuum of the first row is the best one. The other continua are linear in
        the difference of the flux from that of the first row.
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
        """Apply the continuum to changes (n, D, P) of the model, as to derivatives."""
        directions = self.model.directions(rows, parameters, directions)
        flux = self.model.flux(rows, parameters)
        return self._apply_continuum(rows, flux, directions)[1]

    def coefficient_derivatives(self, row, parameters):
        """Compute derivatives (n, P) of one star by its continuum coefficients."""
        rows = torch.tensor([row], device=self.data.device)
        flux = self.model.flux(rows, parameters[rows])
        basis = self.basis[rows]
        by_degree = (basis.polynomials * flux[:, None])[0]
        segments = basis.segment[0].unique()[:, None] == basis.segment[0]
        found = (by_degree[:, None] * segments).flatten(0, 1)
        return found[(found != 0).any(1)]

    def is_positive(self, rows, parameters):
        """Check whether the continuum is positive at all good pixels, of shape (n,)."""
        flux = self.model.flux(rows, parameters)
        continuum = self._continuum(rows, flux)[0]
        return ((continuum > 0) | (self.ivar[rows] <= 0)).all(1)

    def _apply_continuum(self, rows, flux, jacobian):
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
    """Return continuum, derivatives by its coefficients, and their normal matrix."""
    by_coefficient = basis.polynomials * flux[:, None]
    weighted = by_coefficient * ivar[:, None]
    normal = basis.products(weighted, by_coefficient)
    right = basis.products(weighted, data[:, None])
    diagonal = torch.diagonal(normal, dim1=2, dim2=3)
    # polynomials that are zero get ones on the diagonal
    ridge = torch.where(diagonal > 0, _RIDGE * diagonal, torch.ones_like(diagonal))
    normal = normal + torch.diag_embed(ridge)
    coefficients = torch.linalg.solve(normal, right)
    continuum = basis.combine(coefficients.mT, basis.polynomials)[:, 0]
    return continuum, by_coefficient, normal


def continuum_basis(wavelength, ivar, degree, arm=None):
    """Compute polynomials for the continuum of each segment of each star.

    A segment ends at the end of an arm, and at a gap: a step between wavelengths of
    more than ten times the median step of the arm. Bad pixels do not end a segment.

    Parameters
    ----------
    wavelength : ndarray of shape (B, P)
        Wavelengths in Å, increasing in each arm, also those of bad pixels.
    ivar : ndarray of shape (B, P)
        Inverse variances, 0 for bad pixels.
    degree : int
        Degree of the polynomials.
    arm : ndarray of shape (B, P), default=None
        Arm of each pixel.

    Returns
    -------
    basis : ContinuumBasis
        Chebyshev polynomials, scaled to the range between the first and the last good
        pixel of each segment. The degree of a segment of n good pixels is at most
        n - 1.

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
        for inside in np.split(pixels, edges) if len(pixels) else []:
            x = wavelength[star, inside]
            centre, half = (x[0] + x[-1]) / 2, max((x[-1] - x[0]) / 2, 1e-300)
            n = min(degree + 1, len(inside))
            rows = np.polynomial.chebyshev.chebvander((x - centre) / half, n - 1)
            polynomials[star, :n, inside] = rows
    return ContinuumBasis(
        torch.tensor(polynomials, device="cpu"), torch.tensor(segment, device="cpu")
    )


def fit_continuum(flux, ivar, basis, model):
    """Fit the continuum of stars, for given normalised flux.

    Parameters
    ----------
    flux, ivar : ndarray of shape (B, P)
        Observed flux and inverse variances.
    basis : ContinuumBasis
        Polynomials from :func:`continuum_basis`.
    model : ndarray of shape (B, P)
        Approximate normalised flux of the stars.

    Returns
    -------
    continuum : ndarray of shape (B, P)
        Continuum; one where it is unknown or not positive.

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
    """Find slices of pixels in one segment of every star, and count segments."""
    changes = (segment[:, 1:] != segment[:, :-1]).any(0)
    edges = 1 + torch.nonzero(changes)[:, 0].cpu().numpy()
    edges = [0, *edges.tolist(), segment.shape[1]]
    return [slice(*pair) for pair in pairwise(edges)], int(segment.max()) + 1


def _number_segments(wavelength, arm):
    """Compute the number of the segment of each pixel of a star, of shape (P,)."""
    ends = np.diff(arm) != 0
    for inside in np.split(np.arange(len(arm)), np.flatnonzero(ends) + 1):
        ends[inside[:-1]] = is_gap(wavelength[inside])
    return np.concatenate([[0], np.cumsum(ends)])
