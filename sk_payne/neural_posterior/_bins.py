"""Bins of log wavelength, and rebinning of spectra with any pixels."""

import numpy as np
import torch

from sk_payne.abundances import continuum_polynomials
from sk_payne.spectra import C_KMS, doppler_factor, is_covered

__all__ = ["Bins", "PixelLayout"]

# Steps between pixels above this number of median steps are gaps.
_GAP = 3.0

# Largest range of the steps of a uniform grid in log wavelength, as a fraction of their
# mean.
_UNIFORM = 1e-3

# Fractions of a pixel below this in a bin are neglected.
_TINY = 1e-3


class Bins:
    """Bins of equal width in the logarithm of the wavelength.

    Parameters
    ----------
    first : float
        Natural logarithm of the centre of the first bin in Å.
    step : float
        Width of a bin in the natural logarithm of the wavelength.
    n : int
        Number of bins.
    """

    def __init__(self, first, step, n):
        self.first, self.step, self.n = float(first), float(step), int(n)

    @classmethod
    def of_grid(cls, wavelength):
        """Create the bins of a grid, centred on its wavelengths if it is uniform.

        Parameters
        ----------
        wavelength : ndarray of shape (P,)
            Wavelengths in Å, increasing.
        """
        log = np.log(wavelength)
        steps = np.diff(log)
        if np.ptp(steps) < _UNIFORM * steps.mean():
            return cls(log[0], steps.mean(), len(log))
        step = np.median(steps)
        return cls(log[0], step, 1 + int(np.ceil((log[-1] - log[0]) / step - 1e-6)))

    @property
    def wavelength(self):
        """Centres of the bins in Å, of shape (n,)."""
        return np.exp(self.first + self.step * np.arange(self.n))

    @property
    def step_kms(self):
        """Width of a bin in km/s."""
        return C_KMS * self.step


class PixelLayout:
    r"""Overlaps of the pixels of a spectrum with bins.

    The flux of a bin is the weighted mean of the pixels that overlap with it. The
    weight of a pixel is its inverse variance times the fraction of its width inside the
    bin, and the inverse variance of the bin is the sum of the weights. Thus the
    information of a pixel is divided between bins, and never counted twice.

    Parameters
    ----------
    bins : Bins
        The bins.
    wavelength : ndarray of shape (P,)
        Wavelengths of the pixels in Å.
    arm : ndarray of shape (P,) or None
        Arm of each pixel.
    degree : int or None
        Degree of the continuum of each segment; None for normalised flux.
    grid : ndarray of shape (n_grid,)
        Wavelengths of the emulator in Å.
    velocities : tuple of float
        Smallest and largest velocity of a star in km/s.
    reach : float
        Largest distance in km/s from which broadening brings flux to a pixel.

    Attributes
    ----------
    span : slice
        Range of Q pixels from the first to the last usable one.
    used : Tensor of shape (Q,), bool
        True for usable pixels: their flux is from inside the grid at every velocity.
    place : Tensor of shape (Q,), float32
        Position of each pixel in bins, a number with a fraction.
    polynomials : Tensor of shape (n_polynomials, Q), float32, or None
        Polynomials of the continuum.
    """

    def __init__(self, bins, wavelength, arm, degree, *, grid, velocities, reach):
        self.n_bins = bins.n
        slow, fast = velocities
        width = doppler_factor(reach)
        lowest = wavelength / (doppler_factor(fast) * width)
        highest = wavelength * width / doppler_factor(slow)
        used = is_covered(lowest, highest, grid)
        inside = np.flatnonzero(used)
        self.span = slice(inside[0], inside[-1] + 1) if len(inside) else slice(0)
        used, wavelength = used[self.span], wavelength[self.span]
        arm = None if arm is None else arm[self.span]
        self.used = torch.from_numpy(used)
        log = np.log(wavelength)
        place = (log - bins.first) / bins.step
        self.place = torch.from_numpy(place.astype(np.float32))
        self.polynomials = None
        if degree is not None and len(wavelength):
            rows = continuum_polynomials(wavelength, degree, arm)
            self.polynomials = torch.from_numpy(rows.astype(np.float32))
        self._pixel, self._bin, self._part = _overlaps(place, arm, bins.n)
        # no sums if each bin has at most one pixel
        is_single = len(self._pixel) == len(np.unique(self._bin))
        self._is_single = is_single and bool((self._part > 1 - _TINY).all())

    def to_bins(self, flux, ivar):
        """Rebin spectra.

        Parameters
        ----------
        flux, ivar : Tensor of shape (n, P), float32
            Flux and inverse variances of the pixels, 0 for bad pixels.

        Returns
        -------
        flux, ivar : Tensor of shape (n, n_bins), float32
            Flux and inverse variances of the bins, zero for bins without data.
        """
        shape = len(flux), self.n_bins
        weight, total = ivar.new_zeros(shape), flux.new_zeros(shape)
        if self._is_single:
            weight[:, self._bin] = ivar[:, self._pixel]
            total[:, self._bin] = flux[:, self._pixel]
            return torch.where(weight > 0, total, 0.0), weight
        part = ivar[:, self._pixel] * self._part
        weight.index_add_(1, self._bin, part)
        total.index_add_(1, self._bin, part * flux[:, self._pixel])
        return total / weight.clamp_min(1e-30), weight


def _overlaps(place, arm, n_bins):
    """Return pixel, bin, and fraction of the pixel in the bin, for all overlaps."""
    low, high = _edges(place, arm)
    first = np.ceil(low - 0.5 - 1e-9).astype(np.int64)
    last = np.floor(high + 0.5 + 1e-9).astype(np.int64)
    pixels, bins, parts = [], [], []
    for shift in range(int((last - first).max(initial=0)) + 1):
        number = first + shift
        inside = np.minimum(high, number + 0.5) - np.maximum(low, number - 0.5)
        part = inside / (high - low)
        kept = (number <= last) & (number >= 0) & (number < n_bins) & (part > _TINY)
        pixels.append(np.flatnonzero(kept))
        bins.append(number[kept])
        parts.append(part[kept])
    arrays = [np.concatenate(rows) for rows in (pixels, bins, parts)]
    arrays[2] = arrays[2].astype(np.float32)
    return [torch.from_numpy(array) for array in arrays]


def _edges(place, arm):
    """Return lower and upper edges of pixels in bins, midway between pixels."""
    if len(place) < 2:
        return place - 0.5, place + 0.5
    steps = np.diff(place)
    same = np.ones(len(steps), dtype=bool) if arm is None else np.diff(arm) == 0
    usual = np.median(steps[same]) if same.any() else 1.0
    near = same & (steps > 0) & (steps < _GAP * usual)
    half = np.where(near, steps, np.nan) / 2
    before, after = np.r_[np.nan, half], np.r_[half, np.nan]
    before, after = (
        np.where(np.isnan(one), np.where(np.isnan(other), usual / 2, other), one)
        for one, other in ((before, after), (after, before))
    )
    return place - before, place + after
