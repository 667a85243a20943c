"""Fourier transforms of profiles in velocity: rotation, macroturbulence, instruments.

Each transform has a formula, and a derivative, which are exact at any sampling and for
any width down to zero.
"""

import math

import numpy as np
import torch

from sk_payne.spectra._doppler import C_KMS

__all__ = [
    "broadening_reach",
    "gaussian_transfer",
    "instrument_transfer",
    "macroturbulence_transfer",
    "rotation_transfer",
    "velocity_sigma",
]

# Full width at half maximum of a Gaussian, in standard deviations.
_FWHM = 2 * math.sqrt(2 * math.log(2))

# Resolving powers that differ by less than a per cent are the same: they are rounded.
_SAME_POWER = 1.01

# Where profiles are below 1e-7 of their maximum, in units of their widths.
_MACROTURBULENCE_REACH = 4.0
_GAUSSIAN_REACH = 5.7

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
        :math:`R = \lambda / \Delta\lambda` with the full width at half maximum. What is
        not above that of the spectrum by more than a per cent is taken to be equal.
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
    wanted, has = np.broadcast_arrays(wanted, has)
    above = wanted > _SAME_POWER * has
    if above.any():
        largest, least = wanted[above].max(), has[above].min()
        raise ValueError(
            "`resolving_power` must not be above that of the spectrum: nothing "
            f"sharpens it again; got {largest:g} for a spectrum of {least:g}. "
            "If the spectrum is that of an emulator, smear the observed one: "
            f"broaden(flux, wavelength, resolving_power={least:g}, "
            f"already={largest:g})."
        )
    wanted = np.minimum(wanted, has)
    return C_KMS / _FWHM * np.sqrt(wanted**-2.0 - has**-2.0)


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
