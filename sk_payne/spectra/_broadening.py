"""Spectra convolved by profiles in velocity, through Fourier transforms.

On a logarithmic grid a velocity is the same number of pixels everywhere, and all
profiles together are one product in Fourier space.
"""

import math
from itertools import pairwise

import numpy as np
import scipy.fft
import torch

from sk_payne.spectra._doppler import C_KMS
from sk_payne.spectra._interpolation import GridInterpolator
from sk_payne.spectra._profiles import (
    broadening_reach,
    gaussian_transfer,
    macroturbulence_transfer,
    rotation_transfer,
    velocity_sigma,
)

__all__ = ["VelocityConvolver", "broaden"]

# Pixels over which a spline forgets its ends, to less than rounding.
_SPLINE_REACH = 44

# Wavelengths closer to the one before than this part of the median step are left out.
_CLOSE = 1 / 8

# The pixels of the convolution are as fine as the smallest step of what is left, but
# not finer than half of the smallest mean of so many steps in a row.
_N_STEPS = 8


class VelocityConvolver:
    """Convolve spectra on a grid by profiles in velocity.

    Works on wavelengths that are uniform in their logarithm, where a velocity is a
    number of pixels; spectra on other grids are first brought to such a grid, about as
    fine, by :class:`GridInterpolator`. Each segment between gaps of the grid is
    convolved on its own: beyond its ends, the spectrum is taken to be constant.

    Flux at a wavelength that is closer to the one before it than an eighth of the
    median step is not used: wavelengths that are close to each other cost no pixels,
    and a segment has at most eight pixels for each median step. Where steps of a grid
    jump, the spline is less exact: by 0.001 in a line of four pixels, if they double;
    by 1e-6 where they change little by little, see :class:`GridInterpolator`.

    Parameters
    ----------
    wavelength : array-like of float, shape (P,)
        Wavelengths of the spectra in Å, increasing, P >= 2.
    reach : float
        Velocity in km/s beyond which all profiles vanish.

    Attributes
    ----------
    wavelength : ndarray of shape (Q,)
        Wavelengths in Å of what comes out, from the first to the last that came in; of
        a grid with gaps, segments may end up to a pixel later.
    k : Tensor of float64, shape (n,)
        Wave numbers in radian per km/s for which transfer functions are wanted.
    step : float
        Width of a pixel in km/s.
    reach : float
        As above.
    interpolator : GridInterpolator
        Interpolator on the grid of the result.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sk_payne.spectra import VelocityConvolver, rotation_transfer
    >>> convolver = VelocityConvolver(np.geomspace(5000, 5010, 501), reach=20)
    >>> transfer, _ = rotation_transfer(convolver.k, torch.tensor(20.0).double())
    >>> spectrum = convolver.transform(torch.ones(2, 501, dtype=torch.float64))
    >>> convolver.back(spectrum * transfer).shape
    torch.Size([2, 501])
    """

    def __init__(self, wavelength, reach):
        grid = GridInterpolator(wavelength)
        if len(grid) < 2:
            raise ValueError(
                "`wavelength` must have at least two entries; got "
                f"{len(grid)}. A single wavelength has no neighbours to smear over."
            )
        self.reach = reach
        self._kept = None
        kept = _apart(grid)
        if len(kept) < len(grid):
            self._kept = torch.from_numpy(kept)
            edges = [np.searchsorted(kept, part.start) for part in grid.segments]
            segments = [slice(*pair) for pair in pairwise([*edges, len(kept)])]
            grid = GridInterpolator(grid.wavelength[kept], segments)
        self.interpolator, self._resample = grid, None
        if not grid.is_logarithmic:
            self.interpolator, self._resample = _logarithmic(grid), grid
            self._index = torch.from_numpy(grid.index(self.interpolator.wavelength))
        self.wavelength, segments = (
            self.interpolator.wavelength,
            self.interpolator.segments,
        )
        longest = max(segments, key=lambda part: part.stop - part.start)
        log = np.log(self.wavelength[longest])
        self.step = C_KMS * (log[-1] - log[0]) / (len(log) - 1)
        self._margin = math.ceil(reach / self.step) + _SPLINE_REACH
        # all segments behind one another, each continued by a margin at either end
        n = len(self.wavelength) + 2 * self._margin * len(segments)
        self._length = scipy.fft.next_fast_len(n, real=True)
        self._lay_out(segments)
        cycles = torch.fft.rfftfreq(
            self._length, self.step, dtype=torch.float64, device="cpu"
        )
        self.k = 2 * math.pi * cycles
        # of a quintic B-spline at whole pixels: 66, 26 and 1 in 120
        phase = self.k * self.step
        self._samples = (66 + 52 * torch.cos(phase) + 2 * torch.cos(2 * phase)) / 120

    def _lay_out(self, segments):
        """Find which pixel is where in what is transformed, which is periodic."""
        source = np.empty(self._length, dtype=np.int64)
        pixels, coefficients = [], []
        for i, part in enumerate(segments):
            n, shift = part.stop - part.start, 2 * self._margin * i
            first = part.start + shift
            end = first + n + self._margin
            if part is segments[-1]:
                end = self._length - self._margin
            place = np.arange(first - self._margin, end)
            source[place] = (place - shift).clip(part.start, part.stop - 1)
            pixels.append(first + np.arange(n))
            # two more at either end, as a spline has
            coefficients.append(first + np.arange(-2, max(n, 2) + 2))
        self._source = torch.from_numpy(source)
        self._pixels = torch.from_numpy(np.concatenate(pixels))
        coefficients = np.concatenate(coefficients) % self._length
        self._coefficients = torch.from_numpy(coefficients)

    def transform(self, values):
        """Fourier transforms of spectra.

        Parameters
        ----------
        values : Tensor of shape (..., P)
            Spectra, or tangents of spectra.

        Returns
        -------
        spectrum : Tensor of complex, shape (..., n)
            To be multiplied with transfer functions.
        """
        if self._kept is not None:
            values = values[..., self._kept.to(values.device)]
        if self._resample is not None:
            coefficients = self._resample.coefficients(values)
            values = self._resample.evaluate(
                coefficients, self._index.to(values.device)
            )
        return torch.fft.rfft(values[..., self._source.to(values.device)])

    def back(self, spectrum):
        """Spectra from their transforms.

        Parameters
        ----------
        spectrum : Tensor of complex, shape (..., n)
            Such as :meth:`transform` gives.

        Returns
        -------
        values : Tensor of shape (..., Q)
            At :attr:`wavelength`.
        """
        around = torch.fft.irfft(spectrum, self._length)
        return around[..., self._pixels.to(around.device)]

    def coefficients(self, spectrum):
        """Spline coefficients from transforms, at no more cost than the spectra.

        Parameters
        ----------
        spectrum : Tensor of complex, shape (..., n)
            Such as :meth:`transform` gives.

        Returns
        -------
        coefficients : Tensor of shape (..., C)
            For ``interpolator.evaluate``, of spectra that are constant beyond their
            ends; there, they differ from ``interpolator.coefficients``.
        """
        samples = self._samples.to(device=spectrum.device, dtype=spectrum.real.dtype)
        around = torch.fft.irfft(spectrum / samples, self._length)
        return around[..., self._coefficients.to(around.device)]


def broaden(
    flux,
    wavelength,
    *,
    vsini=0.0,
    limb_darkening=0.6,
    vmac=0.0,
    resolving_power=None,
    already=None,
):
    """Broaden spectra by rotation, macroturbulence and an instrument.

    Parameters
    ----------
    flux : array-like of shape (..., P)
        Spectra, constant beyond their ends: what is within the reach of the profiles
        from there is only as good as that.
    wavelength : array-like of shape (P,)
        Wavelengths in Å, increasing.
    vsini : float or array-like of shape (...), default=0.0
        Projected rotation velocity in km/s.
    limb_darkening : float, default=0.6
        Linear coefficient, for rotation.
    vmac : float or array-like of shape (...), default=0.0
        Radial-tangential macroturbulence in km/s.
    resolving_power : float or array-like of shape (...), default=None
        Wavelength over full width at half maximum that the spectra shall have; None
        for no instrument.
    already : float or array-like of shape (...), default=None
        Resolving power that they have; None for spectra without an instrument.

    Returns
    -------
    broadened : ndarray of shape (..., P)
        At the same wavelengths.

    Raises
    ------
    ValueError
        If an argument is not allowed.

    See Also
    --------
    rotation_transfer, macroturbulence_transfer, gaussian_transfer : The profiles.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.spectra import broaden
    >>> wavelength = np.geomspace(5000, 5010, 501)
    >>> flux = 1 - 0.8 * np.exp(-(((wavelength - 5005) / 0.1) ** 2))
    >>> print(f"{flux.min():.2f} {broaden(flux, wavelength, vsini=20).min():.2f}")
    0.20 0.72
    """
    flux = np.asarray(flux, dtype=np.float64)
    if flux.ndim == 0 or flux.shape[-1] != np.size(wavelength):
        raise ValueError(
            f"`flux` must have {np.size(wavelength)} entries on its last axis, one for "
            f"each wavelength; got the shape {flux.shape}."
        )
    if not 0 <= limb_darkening <= 1:
        raise ValueError(
            f"`limb_darkening` must be between 0 and 1; got {limb_darkening}."
        )
    widths = {"vsini": vsini, "vmac": vmac}
    for name, value in widths.items():
        widths[name] = np.asarray(value, dtype=np.float64)
        if not (np.isfinite(widths[name]) & (widths[name] >= 0)).all():
            raise ValueError(
                f"`{name}` must be finite and not negative, in km/s; got {value}."
            )
    sigma = np.zeros(())
    if resolving_power is not None:
        sigma = velocity_sigma(resolving_power, already)
    elif already is not None:
        raise ValueError(
            "`resolving_power` must be given if `already` is: what the spectra shall "
            f"have, not only what they have; got None and {already}."
        )
    vsini, vmac, sigma = (
        torch.as_tensor(width, device="cpu") for width in (*widths.values(), sigma)
    )
    reach = broadening_reach(vsini.max(), vmac.max(), sigma.max())
    if reach == 0:
        return flux.copy()
    convolver = VelocityConvolver(wavelength, float(reach))
    transfer = rotation_transfer(convolver.k, vsini, limb_darkening)[0]
    transfer = transfer * macroturbulence_transfer(convolver.k, vmac)[0]
    transfer = transfer * gaussian_transfer(convolver.k, sigma)[0]
    spectrum = convolver.transform(torch.tensor(flux, device="cpu"))
    broadened = convolver.back(spectrum * transfer).numpy()
    if np.array_equal(convolver.wavelength, wavelength):
        return broadened
    return convolver.interpolator(broadened, wavelength)


def _logarithmic(grid):
    """Give a grid of the same segments that is uniform in the logarithm."""
    ends = [np.log(grid.wavelength[part][[0, -1]]) for part in grid.segments]
    length = max(last - first for first, last in ends)
    # rounding must not make chips of one logarithmic grid a pixel longer
    step = length / math.ceil(length / _finest(grid) * (1 - 1e-9))
    parts, edges = [], [0]
    for part, (first, last) in zip(grid.segments, ends, strict=True):
        n = 1 + math.ceil((last - first) / step - 1e-6)
        wavelength = np.exp(first + step * np.arange(n))
        wavelength[0] = grid.wavelength[part.start]
        if abs((last - first) / step - (n - 1)) < 1e-6:
            wavelength[-1] = grid.wavelength[part.stop - 1]
        parts.append(wavelength)
        edges.append(edges[-1] + n)
    segments = [slice(*pair) for pair in pairwise(edges)]
    return GridInterpolator(np.concatenate(parts), segments)


def _finest(grid):
    """Smallest step of a grid in ln(wavelength) that pixels are made as fine as."""
    logs = [np.log(grid.wavelength[part]) for part in grid.segments]
    smallest = min(np.diff(log).min() for log in logs if len(log) > 1)
    means = [
        (log[_N_STEPS:] - log[:-_N_STEPS]).min() / _N_STEPS
        for log in logs
        if len(log) > _N_STEPS
    ]
    return max(smallest, min(means) / 2) if means else smallest


def _apart(grid):
    """Pixels of a grid that are not close to one before; the ends of segments stay."""
    log = np.log(grid.wavelength)
    steps = np.diff(log)
    least = _CLOSE * np.median(steps)
    if not (steps < least).any():
        return np.arange(len(log))
    kept = []
    for part in grid.segments:
        own = [part.start]
        for pixel in range(part.start + 1, part.stop):
            if log[pixel] - log[own[-1]] >= least:
                own.append(pixel)
        if own[-1] != part.stop - 1:
            # the last one takes the place of one that is close to it
            own[max(len(own) - 1, 1) :] = [part.stop - 1]
        kept += own
    return np.array(kept)
