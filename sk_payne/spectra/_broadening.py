r"""Rotation, macroturbulence and Gaussian instruments, as Fourier transforms.

It is here because each of them is a convolution in velocity whose transform has a
formula: exact at any sampling, down to no broadening at all, with its derivative.
"""

import math

import numpy as np
import scipy.fft
import torch

from sk_payne.spectra._doppler import C_KMS
from sk_payne.spectra._interpolation import GridInterpolator

__all__ = [
    "VelocityConvolver",
    "broaden",
    "broadening_reach",
    "gaussian_transfer",
    "instrument_transfer",
    "macroturbulence_transfer",
    "rotation_transfer",
    "velocity_sigma",
]

# Full width at half maximum of a Gaussian, in standard deviations.
_FWHM = 2 * math.sqrt(2 * math.log(2))

# Where profiles are below 1e-7 of their maximum, in units of their widths.
_MACROTURBULENCE_REACH = 4.0
_GAUSSIAN_REACH = 5.7

# Pixels over which a spline forgets its ends, to less than rounding.
_SPLINE_REACH = 44

# Arguments below which series replace formulas that divide by them; the terms left
# out are below 1e-13 there.
_SMALL = 0.05


def rotation_transfer(k, vsini, limb_darkening=0.6):
    r"""Fourier transform of the rotation profile of a star.

    The profile of a rigid sphere with linear limb darkening :math:`\epsilon` is, with
    :math:`x = v / (v \sin i)` between -1 and 1 [1]_,

    .. math:: G(x) \propto 2 (1 - \epsilon) \sqrt{1 - x^2}
        + \frac{\pi \epsilon}{2} (1 - x^2) .

    Parameters
    ----------
    k : Tensor of float64, shape (n,)
        Wave number in radian per km/s.
    vsini : Tensor of float64, shape (...)
        Projected rotation velocity in km/s, not negative.
    limb_darkening : float, default=0.6
        :math:`\epsilon`: 0 is a uniform disk, 1 one that is dark at the limb.

    Returns
    -------
    transfer : Tensor of shape (..., n)
        Real, 1 at k = 0.
    slope : Tensor of shape (..., n)
        Its derivative by vsini.

    References
    ----------
    .. [1] Gray, "The Observation and Analysis of Stellar Photospheres", 3rd edition,
       chapter 18. The transforms of its two parts are :math:`2 J_1(s)/s` and
       :math:`3 j_1(s)/s` with :math:`s = k\,v \sin i`.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.spectra import rotation_transfer
    >>> k = torch.tensor([0.0, 0.1], dtype=torch.float64)
    >>> transfer, _ = rotation_transfer(k, torch.tensor(20.0, dtype=torch.float64))
    >>> print(f"{transfer[0]:.3f} {transfer[1]:.3f}")
    1.000 0.615
    """
    s = k * vsini[..., None]
    small = s.abs() < _SMALL
    t = torch.where(small, torch.ones_like(s), s)
    j1 = torch.special.bessel_j1(t)
    j2 = 2 * j1 / t - torch.special.bessel_j0(t)
    s2 = s * s
    series = 1 + s2 * (-1 / 8 + s2 * (1 / 192 - s2 / 9216))
    disk = torch.where(small, series, 2 * j1 / t)
    series = s * (-1 / 4 + s2 * (1 / 48 - s2 / 1536))
    disk_slope = torch.where(small, series, -2 * j2 / t)
    sin, cos = torch.sin(t), torch.cos(t)
    y1 = (sin / t - cos) / t
    y2 = 3 * y1 / t - sin / t
    series = 1 + s2 * (-1 / 10 + s2 * (1 / 280 - s2 / 15120))
    limb = torch.where(small, series, 3 * y1 / t)
    series = s * (-1 / 5 + s2 * (1 / 70 - s2 / 2520))
    limb_slope = torch.where(small, series, -3 * y2 / t)
    share = 2 * limb_darkening / (3 - limb_darkening)  # of the limb-darkened part
    transfer = (1 - share) * disk + share * limb
    return transfer, k * ((1 - share) * disk_slope + share * limb_slope)


def macroturbulence_transfer(k, vmac):
    r"""Fourier transform of the radial-tangential macroturbulence profile.

    Half of the surface moves up and down, half of it along the surface, with Gaussian
    velocities :math:`e^{-(v/\zeta)^2}`, seen over a disk without limb darkening [1]_.
    The transform of a place that is seen at the angle :math:`\theta` is Gaussian, and
    its mean over the disk is :math:`(1 - e^{-a})/a` with :math:`a = (k\zeta/2)^2`.

    Parameters
    ----------
    k : Tensor of float64, shape (n,)
        Wave number in radian per km/s.
    vmac : Tensor of float64, shape (...)
        :math:`\zeta` in km/s, not negative.

    Returns
    -------
    transfer : Tensor of shape (..., n)
        Real, 1 at k = 0.
    slope : Tensor of shape (..., n)
        Its derivative by vmac.

    References
    ----------
    .. [1] Gray, "The Observation and Analysis of Stellar Photospheres", 3rd edition,
       chapter 17.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.spectra import macroturbulence_transfer
    >>> k = torch.tensor([0.0, 0.1], dtype=torch.float64)
    >>> transfer, _ = macroturbulence_transfer(k, torch.tensor(5.0).double())
    >>> print(f"{transfer[0]:.3f} {transfer[1]:.3f}")
    1.000 0.969
    """
    a = (k * vmac[..., None] / 2) ** 2
    small = a < _SMALL**2
    b = torch.where(small, torch.ones_like(a), a)
    transfer = torch.where(
        small, 1 - a / 2 + a**2 / 6 - a**3 / 24, -torch.expm1(-b) / b
    )
    by_a = torch.where(
        small, -0.5 + a / 3 - a**2 / 8 + a**3 / 30, (torch.exp(-b) - transfer) / b
    )
    return transfer, by_a * k**2 * vmac[..., None] / 2


def gaussian_transfer(k, sigma):
    r"""Fourier transform of a Gaussian instrument, :math:`e^{-k^2\sigma^2/2}`.

    Parameters
    ----------
    k : Tensor of float64, shape (n,)
        Wave number in radian per km/s.
    sigma : Tensor of float64, shape (...)
        Standard deviation in km/s, see :func:`velocity_sigma`.

    Returns
    -------
    transfer : Tensor of shape (..., n)
        Real, 1 at k = 0.
    slope : Tensor of shape (..., n)
        Its derivative by sigma.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.spectra import gaussian_transfer
    >>> k = torch.tensor([0.0, 0.1], dtype=torch.float64)
    >>> transfer, _ = gaussian_transfer(k, torch.tensor(5.0).double())
    >>> print(f"{transfer[0]:.3f} {transfer[1]:.3f}")
    1.000 0.882
    """
    sigma = sigma[..., None]
    transfer = torch.exp(-((k * sigma) ** 2) / 2)
    return transfer, -(k**2) * sigma * transfer


def instrument_transfer(k, resolving_power, already=None):
    r"""Fourier transform of the Gaussian that brings a spectrum to a resolving power.

    With the full width at half maximum c/R of both, its variance in velocity is
    :math:`(c / 2.355)^2 (R^{-2} - R_0^{-2})`, where :math:`R_0` is what the spectrum
    has.

    Parameters
    ----------
    k : Tensor of float64, shape (n,)
        Wave number in radian per km/s.
    resolving_power : Tensor of float64, shape (...)
        R, not above that of the spectrum.
    already : float, default=None
        Resolving power of the spectrum; None for one without an instrument.

    Returns
    -------
    transfer : Tensor of shape (..., n)
        Real, 1 at k = 0.
    slope : Tensor of shape (..., n)
        Its derivative by R.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.spectra import instrument_transfer
    >>> k = torch.tensor([0.0, 0.1], dtype=torch.float64)
    >>> R = torch.tensor(20000.0, dtype=torch.float64)
    >>> transfer, _ = instrument_transfer(k, R, already=50000)
    >>> print(f"{transfer[0]:.3f} {transfer[1]:.3f}")
    1.000 0.844
    """
    inverse = 1 / resolving_power[..., None]
    least = 0.0 if already is None else 1 / already
    scale = (C_KMS / _FWHM * k) ** 2
    transfer = torch.exp(-scale * (inverse**2 - least**2).clamp_min(0) / 2)
    return transfer, scale * inverse**3 * transfer


def velocity_sigma(resolving_power, already=None):
    r"""Give the standard deviation of the Gaussian that makes a resolving power.

    Parameters
    ----------
    resolving_power : float or array-like
        :math:`R = \lambda / \Delta\lambda` with the full width at half maximum.
    already : float or array-like, default=None
        Resolving power that the spectrum has; None for a spectrum without an
        instrument.

    Returns
    -------
    sigma : ndarray of float64
        In km/s.

    Raises
    ------
    ValueError
        If a resolving power is not positive, or above that of the spectrum.

    Examples
    --------
    >>> from sk_payne.spectra import velocity_sigma
    >>> print(f"{velocity_sigma(20000):.3f} {velocity_sigma(20000, 50000):.3f}")
    6.366 5.834
    """
    wanted = np.asarray(resolving_power, dtype=np.float64)
    has = np.asarray(np.inf if already is None else already, dtype=np.float64)
    if not (wanted > 0).all() or not (has > 0).all():
        raise ValueError(
            "`resolving_power` must be positive; got "
            f"{resolving_power} for a spectrum of {already}."
        )
    if (wanted > has).any():
        raise ValueError(
            "`resolving_power` must not be above that of the spectrum: nothing "
            f"sharpens it again; got {resolving_power} for a spectrum of {already}."
        )
    return C_KMS / _FWHM * np.sqrt(wanted**-2.0 - has**-2.0)


class VelocityConvolver:
    """Convolve spectra on a grid by profiles in velocity.

    Works on wavelengths that are uniform in their logarithm, where a velocity is a
    number of pixels; spectra on other grids are first brought to such a grid, at least
    as fine, by :class:`GridInterpolator`. Beyond its ends a spectrum is taken to be
    constant.

    Parameters
    ----------
    wavelength : array-like of float, shape (P,)
        Wavelengths of the spectra in Å, increasing, P >= 2.
    reach : float
        Velocity in km/s beyond which all profiles vanish.

    Attributes
    ----------
    wavelength : ndarray of shape (Q,)
        Wavelengths in Å of what comes out, from the first to the last that came in.
    k : Tensor of float64, shape (n,)
        Wave numbers in radian per km/s for which transfer functions are wanted.
    step : float
        Of the pixels, in km/s.
    reach : float
        As above.
    interpolator : GridInterpolator
        Of what comes out.

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
        self.interpolator, self._resample = grid, None
        log = np.log(grid.wavelength)
        n = len(grid)
        if not grid.is_logarithmic:
            n = 1 + math.ceil((log[-1] - log[0]) / np.diff(log).min())
            wavelength = np.exp(np.linspace(log[0], log[-1], n))
            wavelength[[0, -1]] = grid.wavelength[[0, -1]]
            self.interpolator, self._resample = GridInterpolator(wavelength), grid
            self._index = torch.from_numpy(grid.index(wavelength))
        self.wavelength = self.interpolator.wavelength
        self.step = C_KMS * (log[-1] - log[0]) / (n - 1)
        self._margin = math.ceil(reach / self.step) + _SPLINE_REACH
        self._length = scipy.fft.next_fast_len(n + 2 * self._margin, real=True)
        cycles = torch.fft.rfftfreq(self._length, self.step, dtype=torch.float64)
        self.k = 2 * math.pi * cycles
        # of a quintic B-spline at whole pixels: 66, 26 and 1 in 120
        phase = self.k * self.step
        self._samples = (66 + 52 * torch.cos(phase) + 2 * torch.cos(2 * phase)) / 120

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
        if self._resample is not None:
            coefficients = self._resample.coefficients(values)
            values = self._resample.evaluate(
                coefficients, self._index.to(values.device)
            )
        n = values.shape[-1]
        behind = self._length - n - self._margin
        # the transform is periodic: behind the last pixel comes the first
        ends = [
            values[..., -1:].expand(*values.shape[:-1], behind),
            values[..., :1].expand(*values.shape[:-1], self._margin),
        ]
        return torch.fft.rfft(torch.cat([values, *ends], dim=-1))

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
        return torch.fft.irfft(spectrum, self._length)[..., : len(self.wavelength)]

    def coefficients(self, spectrum):
        """Spline coefficients from transforms, at no more cost than the spectra.

        Parameters
        ----------
        spectrum : Tensor of complex, shape (..., n)
            Such as :meth:`transform` gives.

        Returns
        -------
        coefficients : Tensor of shape (..., Q + 4)
            For ``interpolator.evaluate``, of spectra that are constant beyond their
            ends; there, they differ from ``interpolator.coefficients``.
        """
        samples = self._samples.to(device=spectrum.device, dtype=spectrum.real.dtype)
        around = torch.fft.irfft(spectrum / samples, self._length)
        # two more at either end; the transform is periodic
        n = len(self.wavelength) + 2
        return torch.cat([around[..., -2:], around[..., :n]], dim=-1)


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
    vsini, vmac, sigma = map(torch.as_tensor, (*widths.values(), sigma))
    reach = broadening_reach(vsini.max(), vmac.max(), sigma.max())
    if reach == 0:
        return flux.copy()
    convolver = VelocityConvolver(wavelength, float(reach))
    transfer = rotation_transfer(convolver.k, vsini, limb_darkening)[0]
    transfer = transfer * macroturbulence_transfer(convolver.k, vmac)[0]
    transfer = transfer * gaussian_transfer(convolver.k, sigma)[0]
    spectrum = convolver.transform(torch.tensor(flux))
    broadened = convolver.back(spectrum * transfer).numpy()
    if np.array_equal(convolver.wavelength, wavelength):
        return broadened
    return convolver.interpolator(broadened, wavelength)


def broadening_reach(vsini, vmac, sigma):
    """Velocity beyond which the profiles together vanish.

    Parameters
    ----------
    vsini, vmac, sigma : float
        Widths in km/s.

    Returns
    -------
    reach : float
        In km/s.

    Examples
    --------
    >>> from sk_payne.spectra import broadening_reach
    >>> broadening_reach(30.0, 5.0, 0.0)
    50.0
    """
    return vsini + _MACROTURBULENCE_REACH * vmac + _GAUSSIAN_REACH * sigma
