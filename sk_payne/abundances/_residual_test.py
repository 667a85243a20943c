r"""Test of residuals for correlation along the spectrum.

A wrong continuum, a second star or a telluric line leaves residuals of one sign at
neighbouring pixels. chi2 of thousands of pixels is not sensitive to them.
"""

import numpy as np
import torch
from scipy.special import chdtrc

from sk_payne.abundances._pixel_positions import pixel_positions

__all__ = ["examine_residuals", "probability_of_residuals"]

# Standard deviations at which residuals are clipped in sums over all blocks.
_CUT = 4.0

# Smallest number of blocks; largest number of pixels of blocks that are tested singly.
_FEWEST, _SMALL = 4, 16

# Assumed correlation length in km/s of errors of emulators and error floors.
_LENGTH = 20.0

# Factor of the standard deviations of these errors in tests of single blocks, since
# they have more outliers than noise.
_OUTLYING = 2.0

# Median of the square of a standard Gaussian variable.
_MEDIAN = 0.45494

# Smallest variance, and smallest standard deviation, that is divided by.
_TINY = 1e-30


def examine_residuals(problem, fit, covariance, systematic):
    """Test the residuals of fitted stars.

    Parameters
    ----------
    problem : Problem
        Least-squares problem of B stars.
    fit : LeastSquaresFit
        Fits of these stars.
    covariance : Tensor of shape (B, K, K), float64
        Inverse normal matrix, zero for fixed parameters.
    systematic : ndarray of shape (B, P)
        Part of the variances that may be correlated between pixels.

    Returns
    -------
    probability : ndarray of shape (B,)
        Probability that noise has residuals this correlated, see
        `probability_of_residuals`.
    """
    observed, residual = problem.observed, fit.residual
    # without wavelengths, all errors may be correlated
    positions = np.zeros(residual.shape)
    wavelength = observed.wavelength
    if wavelength is None and observed.block.emulator.wavelength is not None:
        wavelength = observed.block.emulator.wavelength[None]
    if wavelength is not None:
        positions = positions + pixel_positions(wavelength, observed.arm)
    systematic, positions = (
        torch.tensor(values, device="cpu").to(residual)
        for values in (systematic, positions / _LENGTH)
    )
    return probability_of_residuals(
        residual,
        problem.ivar,
        systematic,
        positions,
        fit.jacobian.to(residual),
        covariance.nan_to_num(posinf=0.0).to(residual),
    )


def probability_of_residuals(
    residual, ivar, systematic, positions, jacobian, covariance
):
    r"""Compute the probability that noise has residuals this correlated.

    Residuals over errors, z, are divided by a robust standard deviation, since all
    errors may be wrong by a factor. Their sums u over blocks of m = 2, 4, 8, ... pixels
    have the variances

    .. math:: v = n + e, \qquad e = 2 \sum_{i<k} t_i t_k e^{-|x_i - x_k| / l}

    with n good pixels and the part t of the errors that may be correlated. There are
    two tests for each m:

    1. Over all B blocks, with z clipped at four,

       .. math:: B + (1 - 1/m)^{-1/2} \sum_b
           \Big(u_b^2 - \sum_{i \in b} z_i^2 + h_b - e_b\Big) / v_b

       is approximately a chi2 variable with B degrees of freedom. It is the sum of the
       autocovariances at lags below m with the weights of Bartlett [1]_, tested at
       several m like a variance ratio [2]_; h is the variance of the sum that fitted
       parameters remove.
    2. For m up to 16, the largest :math:`u^2/(n + 4 (e + \sum_i t_i^2))` is the maximum
       of B chi2 variables with one degree of freedom. The largest :math:`|z|` of a
       block is replaced by its second largest, since single outliers are no
       correlation.

    The result is the smallest probability times the number of tests (Bonferroni).

    Parameters
    ----------
    residual, ivar : Tensor of shape (B, P)
        Residuals of the fits of B stars, and inverse variances, 0 for bad pixels.
    systematic : Tensor of shape (B, P)
        Part of the variances that may be correlated between pixels.
    positions : Tensor of shape (B, P)
        Positions of pixels, in correlation lengths of that part.
    jacobian : Tensor of shape (B, K, P)
        Derivatives of the models by the parameters.
    covariance : Tensor of shape (B, K, K)
        Covariance of the fitted parameters for independent errors.

    Returns
    -------
    probability : ndarray of shape (B,)
        Probability between 0 and 1; 1 for too few pixels.

    References
    ----------
    .. [1] Bartlett, "Periodogram analysis and continuous spectra", Biometrika 37, 1,
       1950.
    .. [2] Lo & MacKinlay, "Stock market prices do not follow random walks", Rev.
       Financial Studies 1, 41, 1988.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.abundances._residual_test import probability_of_residuals
    >>> noise = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0))
    >>> none, ivar = torch.zeros(1, 1000), torch.ones(1, 1000)
    >>> fit = none, none, torch.ones(1, 1, 1000), torch.full((1, 1, 1), 1e-3)
    >>> for residual in (noise, noise + 0.5 * torch.linspace(0, 9, 1000).sin()):
    ...     [p] = probability_of_residuals(residual, ivar, *fit)
    ...     print(p > 0.005)
    True
    False
    """
    good = ivar > 0
    root = ivar.sqrt()
    size = torch.where(good, ivar * residual**2, torch.nan).nanmedian(1, True).values
    z = root * residual / (size / _MEDIAN).clamp_min(_TINY).sqrt()
    z = torch.where(good, z, 0.0)
    cut = z.clip(-_CUT, _CUT)
    n_good = good.sum(1, keepdim=True).clamp_min(1)
    size = ((cut**2).sum(1, keepdim=True) / n_good).clamp_min(_TINY).sqrt()
    blocks = _Blocks(
        z / size,
        cut / size,
        n=good.to(z),
        taken=jacobian * root[:, None],
        covariance=covariance,
        part=torch.where(good, ivar * systematic, 0.0).sqrt(),
        positions=positions,
    )
    found, n_tests = np.ones(len(z)), 0
    while blocks.n.shape[1] >= 2 * _FEWEST:
        blocks.join()
        tests = [blocks.probability_of_sum()]
        if blocks.n_pixels <= _SMALL:
            tests.append(blocks.probability_of_largest())
        found = np.minimum(found, np.min(tests, axis=0))
        n_tests += len(tests)
    return np.minimum(found * max(n_tests, 1), 1.0)


class _Blocks:
    """Sums over blocks of pixels; blocks are joined in pairs."""

    def __init__(self, z, cut, n, taken, covariance, part, positions):
        self.total, self.cut, self.square, self.n = z, cut, cut**2, n
        self.taken, self.covariance = taken, covariance
        self.n_pixels = 1
        # variances of single pixels that fitted parameters remove
        self.own = self._by_fit()
        # largest |z| with its sign, and the second largest
        self.first, self.second = z, torch.zeros_like(z)
        # correlated errors: variances, sums over pairs, sums decaying from either end
        self.part, self.pairs = part**2, torch.zeros_like(part)
        self.from_end, self.from_start = part, part
        self.start, self.end = positions, positions

    def join(self):
        """Join blocks in pairs; a last block without partner is left out."""
        self.n_pixels *= 2
        (start, next_start), (end, next_end) = map(_halves, (self.start, self.end))
        left, right = _halves(self.from_start)
        left_end, right_end = _halves(self.from_end)
        between = left_end * right * (end - next_start).exp()
        self.from_start = left + right * (start - next_start).exp()
        self.from_end = right_end + left_end * (end - next_end).exp()
        self.start, self.end = start, next_end
        left, right = _halves(self.first)
        lower = torch.minimum(left.abs(), right.abs())
        self.first = torch.where(left.abs() > right.abs(), left, right)
        self.second = torch.maximum(torch.maximum(*_halves(self.second)), lower)
        for name in ("total", "cut", "square", "n", "taken", "own", "part", "pairs"):
            left, right = _halves(getattr(self, name))
            setattr(self, name, left + right)
        self.pairs = self.pairs + between

    def probability_of_sum(self):
        """Compute the probability of the sum over all blocks, of shape (B,)."""
        seen = self.n > 1
        n_blocks = seen.sum(1).double().cpu().numpy()
        together = 2 * self.pairs
        variance = torch.where(seen, self.n + together, 1.0)
        taken = self._by_fit() - self.own
        off = (self.cut**2 - self.square + taken - together) / variance
        off = torch.where(seen, off, 0.0).double().sum(1).cpu().numpy()
        every = n_blocks + off / np.sqrt(1 - 1 / self.n_pixels)
        return chdtrc(np.maximum(n_blocks, 1), np.maximum(every, 0.0))

    def probability_of_largest(self):
        """Compute the probability of the block farthest from zero, of shape (B,)."""
        seen = self.n > 1
        n_blocks = seen.sum(1).clamp_min(1).double().cpu().numpy()
        total = self.total - self.first + self.first.sign() * self.second
        variance = self.n + _OUTLYING**2 * (self.part + 2 * self.pairs)
        largest = torch.where(seen, total**2 / variance, 0.0).amax(1)
        one = chdtrc(1, largest.double().cpu().numpy())
        with np.errstate(divide="ignore"):
            return -np.expm1(n_blocks * np.log1p(-one))

    def _by_fit(self):
        """Compute variances of sums that fitted parameters remove, (B, n_blocks)."""
        return ((self.covariance @ self.taken) * self.taken).sum(1)


def _halves(values):
    """Return blocks with even numbers, and blocks with odd numbers."""
    n = values.shape[-1] // 2 * 2
    return values[..., :n:2], values[..., 1:n:2]
