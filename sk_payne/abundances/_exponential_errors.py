r"""Errors of a spectrum that go together over some length: their size and length.

The inverse of an exponential kernel is tridiagonal, since such errors are a Markov
process (Ornstein and Uhlenbeck): all below takes a time in proportion to the pixels.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded, solveh_banded
from scipy.optimize import minimize

__all__ = ["ExponentialErrors", "StarResiduals"]

# Part of the diagonal that keeps matrices of parameters that hardly show regular.
_RIDGE = 1e-9

# Smallest and largest length, in median steps of the pixels and parts of all of them;
# smallest and largest size, in median errors of the pixels.
_STEPS, _PART = 0.5, 0.1
_SIZES = (1e-2, 1e4)

# Sizes and lengths that are tried before the best of them is refined.
_N_SIZES, _N_LENGTHS = 5, 4

# Fewest pixels, and fewest for each parameter.
_FEWEST, _FOR_EACH = 20, 3


@dataclass(frozen=True)
class ExponentialErrors:
    """Errors with an exponential kernel.

    Attributes
    ----------
    size : float
        1 sigma error, as a fraction of the continuum; 0 if there are none.
    length : float
        Correlation length in km/s; NaN if it is not known.
    """

    size: float
    length: float


class StarResiduals:
    r"""Residuals z of one star, over the errors W that its fit took.

    Their covariance is

    .. math:: V = D + s^2 G K G, \qquad K_{ij} = e^{-|x_i - x_j| / l} ,

    with the variances D of noise, the continuum G, both over errors, and positions x.

    Parameters
    ----------
    residual : ndarray of shape (P,)
        Residuals over errors, at good pixels only.
    noise : ndarray of shape (P,)
        Variances of noise over those of the fit, D.
    continuum : ndarray of shape (P,)
        Continuum over errors, G.
    positions : ndarray of shape (P,)
        In km/s, increasing.
    derivatives : ndarray of shape (K, P)
        Of all that was fitted, the continuum included, over errors.
    """

    def __init__(self, residual, noise, continuum, positions, derivatives):
        self.residual, self.noise, self.continuum = residual, noise, continuum
        self.steps, self.derivatives = np.diff(positions), derivatives
        self._both = np.vstack([derivatives, residual]).T

    def find(self, length=None):
        """Find the size, and the length, by restricted maximum likelihood.

        Parameters
        ----------
        length : float, default=None
            Length in km/s, if it is known.

        Returns
        -------
        errors : ExponentialErrors
            Without size if there are too few pixels, or noise explains more.
        """
        n_parameters, n_pixels = self.derivatives.shape
        steps = self.steps[self.steps > 0]
        if n_pixels < max(_FOR_EACH * n_parameters, _FEWEST) or not len(steps):
            return ExponentialErrors(0.0, np.nan if length is None else length)
        typical = np.median(np.sqrt(self.noise) / self.continuum)
        tried = [np.log(typical) + np.linspace(-2, 4, _N_SIZES)]
        limits, known = [np.log(typical * np.array(_SIZES))], ()
        if length is None:
            near = steps[steps < 10 * np.median(steps)]
            limits.append(np.log([_STEPS * np.median(steps), _PART * near.sum()]))
            tried.append(np.linspace(*limits[1], _N_LENGTHS + 2)[1:-1])
        else:
            known = (np.log(length),)

        def loss(variables):
            return -self.log_likelihood(*np.exp([*variables, *known]))

        best = min(product(*tried), key=loss)
        found = minimize(
            loss, best, method="Nelder-Mead", bounds=limits, options={"xatol": 0.02}
        )
        size, *rest = np.exp(found.x).tolist()
        if -found.fun <= self.log_likelihood(0.0, 1.0):
            size, rest = 0.0, [np.nan]
        return ExponentialErrors(size, rest[0] if length is None else length)

    def log_likelihood(self, size, length):
        r"""Logarithm of the restricted likelihood, but for a constant.

        .. math:: -\frac12 \left(\ln|V| + \ln|A V^{-1} A^\top| + z^\top V^{-1} z
            - z^\top V^{-1} A^\top (A V^{-1} A^\top)^{-1} A V^{-1} z \right)

        with derivatives A [1]_. Residuals of any weighted least squares give the same.

        Parameters
        ----------
        size, length : float
            Of the errors.

        Returns
        -------
        log_likelihood : float
            Larger is better.

        References
        ----------
        .. [1] Patterson & Thompson, "Recovery of inter-block information when block
           sizes are unequal", Biometrika 58, 545, 1971.
        """
        both = self._both / self.noise[:, None]
        logarithm = np.log(self.noise).sum()
        square = self._both.T @ both
        if size > 0:
            # Woodbury, with s^2 K as the inner matrix, whose inverse is tridiagonal
            inverse, log_kernel = self._inverse_kernel(length)
            n = len(self.noise)
            inverse /= size**2
            inverse[1] += self.continuum**2 / self.noise
            factor = cholesky_banded(inverse, check_finite=False)
            scaled = both * self.continuum[:, None]
            solved = cho_solve_banded((factor, False), scaled, check_finite=False)
            square = square - scaled.T @ solved
            logarithm += log_kernel + 2 * n * np.log(size)
            logarithm += 2 * np.log(factor[1]).sum()
        normal, right, left = square[:-1, :-1], square[:-1, -1], square[-1, -1]
        scale = np.sqrt(np.maximum(np.diagonal(normal), 1e-300))
        normal = normal / scale / scale[:, None] + _RIDGE * np.eye(len(scale))
        right = right / scale
        _, of_normal = np.linalg.slogdet(normal)
        of_normal += 2 * np.log(scale).sum()
        fitted = right @ np.linalg.solve(normal, right)
        return -(logarithm + of_normal + left - fitted) / 2

    def spread(self, errors):
        """Covariance A V A^T of weighted sums of the residuals' errors.

        Parameters
        ----------
        errors : ExponentialErrors
            Of the star.

        Returns
        -------
        spread : ndarray of shape (K, K)
            For each two derivatives.
        """
        found = (self.derivatives * self.noise) @ self.derivatives.T
        if errors.size > 0:
            inverse, _ = self._inverse_kernel(errors.length)
            scaled = (self.derivatives * self.continuum).T
            correlated = solveh_banded(inverse, scaled, check_finite=False)
            found = found + errors.size**2 * scaled.T @ correlated
        return (found + found.T) / 2

    def _inverse_kernel(self, length):
        """Upper band of the inverse of K, and the logarithm of its determinant."""
        decay = np.exp(-self.steps / length)
        new = np.maximum(-np.expm1(-2 * self.steps / length), 1e-12)
        band = np.zeros((2, len(self.noise)))
        band[0, 1:] = -decay / new
        band[1] = 1.0
        band[1, :-1] += decay**2 / new
        band[1, 1:] += decay**2 / new
        return band, np.log(new).sum()
