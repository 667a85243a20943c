"""Bins of log wavelength to which spectra on any pixels are brought."""

import numpy as np
import torch

from sk_payne.abundances import continuum_polynomials
from sk_payne.spectra import C_KMS, doppler_factor, is_covered

__all__ = ["Bins", "PixelLayout"]

# A step between pixels of so many median steps is a hole, which is no pixel's.
_HOLE = 3.0

# A grid whose steps in the logarithm differ by less than this part is uniform.
_UNIFORM = 1e-3

# A pixel that is in one bin but for this part of it is in that bin.
_WHOLE = 1e-3


class Bins:
    """Bins of equal width in the logarithm of the wavelength.

    Parameters
    ----------
    first : float
        Natural logarithm of the centre of the first bin in Å.
    step : float
        Width.
    n : int
        Number of bins.
    """

    def __init__(self, first, step, n):
        self.first, self.step, self.n = float(first), float(step), int(n)

    @classmethod
    def of_grid(cls, wavelength):
        """Give the bins of a grid: its own wavelengths if they are uniform.

        Parameters
        ----------
        wavelength : ndarray of shape (P,)
            Å, increasing.
        """
        log = np.log(wavelength)
        steps = np.diff(log)
        if np.ptp(steps) < _UNIFORM * steps.mean():
            return cls(log[0], steps.mean(), len(log))
        step = np.median(steps)
        return cls(log[0], step, 1 + int(np.ceil((log[-1] - log[0]) / step - 1e-6)))

    @property
    def wavelength(self):
        """Centres in Å, of shape (n,)."""
        return np.exp(self.first + self.step * np.arange(self.n))

    @property
    def step_kms(self):
        """Width in km/s."""
        return C_KMS * self.step


class PixelLayout:
    r"""Which pixels of a spectrum lie in which bins.

    A bin has the mean of the pixels in it, weighted with their inverse variances times
    the part of them that it holds; its inverse variance is the sum of these weights. So
    the information of a pixel is divided between bins, and none is made.

    Parameters
    ----------
    bins : Bins
        The bins.
    wavelength : ndarray of shape (P,)
        Pixels in Å.
    arm : ndarray of shape (P,) or None
        Arm of each pixel.
    degree : int or None
        Of the continuum of each segment; None for flux that is normalised.
    grid : ndarray of shape (n_grid,)
        Wavelengths of the emulator in Å.
    velocities : tuple of float
        Smallest and largest velocity of a star in km/s.
    reach : float
        Velocity in km/s from which flux is brought to a pixel.

    Attributes
    ----------
    span : slice
        Pixels from the first to the last that is used; all that follows is of these Q.
    used : Tensor of shape (Q,), bool
        Pixels whose flux comes from within the grid at every velocity.
    place : Tensor of shape (Q,), float32
        Number of the bin at each pixel, with a fraction.
    polynomials : Tensor of shape (n_polynomials, Q), float32, or None
        Of the continuum.
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
        # pixels that are the bins need no sums
        is_single = len(self._pixel) == len(np.unique(self._bin))
        self._is_single = is_single and bool((self._part > 1 - _WHOLE).all())

    def to_bins(self, flux, ivar):
        """Bring spectra to the bins.

        Parameters
        ----------
        flux, ivar : Tensor of shape (n, P), float32
            Flux, and inverse variances, 0 for bad pixels.

        Returns
        -------
        flux, ivar : Tensor of shape (n, n_bins), float32
            Zero where there is nothing.
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
    """Give pixels, bins, and the part of the pixel in the bin, of all that overlap."""
    low, high = _edges(place, arm)
    first = np.ceil(low - 0.5 - 1e-9).astype(np.int64)
    last = np.floor(high + 0.5 + 1e-9).astype(np.int64)
    pixels, bins, parts = [], [], []
    for shift in range(int((last - first).max(initial=0)) + 1):
        number = first + shift
        inside = np.minimum(high, number + 0.5) - np.maximum(low, number - 0.5)
        part = inside / (high - low)
        kept = (number <= last) & (number >= 0) & (number < n_bins) & (part > _WHOLE)
        pixels.append(np.flatnonzero(kept))
        bins.append(number[kept])
        parts.append(part[kept])
    arrays = [np.concatenate(rows) for rows in (pixels, bins, parts)]
    arrays[2] = arrays[2].astype(np.float32)
    return [torch.from_numpy(array) for array in arrays]


def _edges(place, arm):
    """Lower and upper edge of each pixel, in bins, midway between pixels."""
    if len(place) < 2:
        return place - 0.5, place + 0.5
    steps = np.diff(place)
    same = np.ones(len(steps), dtype=bool) if arm is None else np.diff(arm) == 0
    usual = np.median(steps[same]) if same.any() else 1.0
    near = same & (steps > 0) & (steps < _HOLE * usual)
    half = np.where(near, steps, np.nan) / 2
    before, after = np.r_[np.nan, half], np.r_[half, np.nan]
    before, after = (
        np.where(np.isnan(one), np.where(np.isnan(other), usual / 2, other), one)
        for one, other in ((before, after), (after, before))
    )
    return place - before, place + after
