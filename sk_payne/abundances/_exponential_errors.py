r"""Correlated errors of a spectrum with an exponential kernel: size and length.

The inverse of an exponential kernel is tridiagonal, since errors with this kernel are a
Markov process (Ornstein and Uhlenbeck). Times are proportional to the number of pixels.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded, solveh_banded
from scipy.optimize import minimize

__all__ = ["ExponentialErrors", "StarResiduals"]

# Fraction of the diagonal that is added to normal matrices, against singular ones.
_RIDGE = 1e-9

# Smallest length in median steps of the pixels; largest length as a fraction of the
# range of the spectrum; smallest and largest size in median errors of the pixels.
_STEPS, _PART = 0.5, 0.1
_SIZES = (1e-2, 1e4)

# Number of sizes and lengths of the grid whose best point starts the minimisation.
_N_SIZES, _N_LENGTHS = 5, 4

# Smallest number of pixels, and of pixels per parameter.
_SMALLEST, _PER_PARAMETER = 20, 3


@dataclass(frozen=True)
class ExponentialErrors:
    """Correlated errors with an exponential kernel.

    Attributes
    ----------
    size : float
        1 sigma error as a fraction of the continuum; 0 without correlated errors.
    length : float
        Correlation length in km/s; NaN if unknown.
    """

    size: float
    length: float


class StarResiduals:
    r"""Residuals z of one star, in units of the 1 sigma errors of its fit.

    Their covariance is

    .. math:: V = D + s^2 G K G, \qquad K_{ij} = e^{-|x_i - x_j| / l} ,

    with the variances D of noise and the continuum G, both in units of the errors of
    the fit, positions x, and the size s and length l of correlated errors.

    Parameters
    ----------
    residual : ndarray of shape (P,)
        Residuals over errors, at good pixels only.
    noise : ndarray of shape (P,)
        Variances of noise over variances of the fit, D.
    continuum : ndarray of shape (P,)
        Continuum over errors, G.
    positions : ndarray of shape (P,)
        Positions of the pixels in km/s, increasing.
    derivatives : ndarray of shape (K, P)
        Derivatives over errors, by all fitted parameters and continuum coefficients.
    """

    def __init__(self, residual, noise, continuum, positions, derivatives):
        self.residual, self.noise, self.continuum = residual, noise, continuum
        self.steps, self.derivatives = np.diff(positions), derivatives
        self._both = np.vstack([derivatives, residual]).T

    def find(self, length=None):
        """Fit size and length by restricted maximum likelihood.

        Parameters
        ----------
        length : float, default=None
            Correlation length in km/s; fitted if None.

        Returns
        -------
        errors : ExponentialErrors
            Size and length; size 0 if there are too few pixels, or the likelihood is
            not larger than that of noise alone.
        """
        n_parameters, n_pixels = self.derivatives.shape
        steps = self.steps[self.steps > 0]
        if n_pixels < max(_PER_PARAMETER * n_parameters, _SMALLEST) or not len(steps):
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
        r"""Compute the logarithm of the restricted likelihood, without its constant.

        .. math:: -\frac12 \left(\ln|V| + \ln|A V^{-1} A^\top| + z^\top V^{-1} z
            - z^\top V^{-1} A^\top (A V^{-1} A^\top)^{-1} A V^{-1} z \right)

        with derivatives A [1]_. It is the same for residuals of least squares with any
        weights.

        Parameters
        ----------
        size, length : float
            1 sigma error as a fraction of the continuum, and correlation length in
            km/s.

        Returns
        -------
        log_likelihood : float
            Natural logarithm.

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
        normal, right, chi2 = square[:-1, :-1], square[:-1, -1], square[-1, -1]
        scale = np.sqrt(np.maximum(np.diagonal(normal), 1e-300))
        normal = normal / scale / scale[:, None] + _RIDGE * np.eye(len(scale))
        right = right / scale
        _, log_normal = np.linalg.slogdet(normal)
        log_normal += 2 * np.log(scale).sum()
        fitted = right @ np.linalg.solve(normal, right)
        return -(logarithm + log_normal + chi2 - fitted) / 2

    def spread(self, errors):
        """Compute the covariance A V A^T of sums of residuals times derivatives.

        Parameters
        ----------
        errors : ExponentialErrors
            Correlated errors of the star.

        Returns
        -------
        spread : ndarray of shape (K, K)
            Covariance of the sums.
        """
        found = (self.derivatives * self.noise) @ self.derivatives.T
        if errors.size > 0:
            inverse, _ = self._inverse_kernel(errors.length)
            scaled = (self.derivatives * self.continuum).T
            correlated = solveh_banded(inverse, scaled, check_finite=False)
            found = found + errors.size**2 * scaled.T @ correlated
        return (found + found.T) / 2

    def _inverse_kernel(self, length):
        """Compute the upper band of the inverse of K, and ln|K|."""
        decay = np.exp(-self.steps / length)
        new = np.maximum(-np.expm1(-2 * self.steps / length), 1e-12)
        band = np.zeros((2, len(self.noise)))
        band[0, 1:] = -decay / new
        band[1] = 1.0
        band[1, :-1] += decay**2 / new
        band[1, 1:] += decay**2 / new
        return band, np.log(new).sum()
