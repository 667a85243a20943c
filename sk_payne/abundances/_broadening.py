"""Broadening of model spectra by rotation, macroturbulence and an instrument."""

from dataclasses import dataclass

import numpy as np
import torch

from sk_payne.spectra import (
    VelocityConvolver,
    broadening_reach,
    gaussian_transfer,
    instrument_transfer,
    macroturbulence_transfer,
    rotation_transfer,
    velocity_sigma,
)

__all__ = ["Broadening", "reach_of_limits"]

# Widths in km/s at which a fit may start, within the limits.
_FIRST_VSINI = (3.0, 10.0, 30.0, 100.0, 300.0)
_FIRST_VMAC = 3.0


def reach_of_limits(limits, sigma=0.0, already=None):
    """Largest velocity shift from which broadening brings flux to a pixel.

    Parameters
    ----------
    limits, sigma, already
        As in `Broadening`.

    Returns
    -------
    reach : float
        Velocity in km/s; 0 if nothing is broadened.
    """
    if "resolving_power" in limits:
        sigma = float(velocity_sigma(limits["resolving_power"][0], already))
    return broadening_reach(limits["vsini"][1], limits["vmac"][1], sigma)


@dataclass(frozen=True)
class Broadening:
    """Rotation, macroturbulence and an instrument, each fixed or fitted.

    Parameters
    ----------
    convolver : VelocityConvolver
        Convolver on the grid of the emulator.
    limits : dict of str to tuple of float
        Smallest and largest "vsini" and "vmac" in km/s, equal if they are fixed, and
        "resolving_power" if it is fitted.
    limb_darkening : float
        Linear coefficient of limb darkening.
    sigma : float
        Standard deviation in km/s of a fixed instrument, beyond that of the
        emulator.
    already : float or None
        Resolving power of the emulator.
    """

    convolver: VelocityConvolver
    limits: dict
    limb_darkening: float
    sigma: float
    already: float | None = None

    @classmethod
    def from_limits(cls, wavelength, limits, limb_darkening, sigma=0.0, already=None):
        """Build the broadening on a grid; None if nothing is broadened."""
        reach = reach_of_limits(limits, sigma, already)
        if reach == 0:
            return None
        convolver = VelocityConvolver(wavelength, reach)
        return cls(convolver, limits, limb_darkening, sigma, already)

    @property
    def free(self):
        """Names of the fitted widths, in the order of the parameters."""
        return [name for name, (low, high) in self.limits.items() if low < high]

    @property
    def reach(self):
        """Largest velocity shift in km/s from which a pixel gets flux."""
        return self.convolver.reach

    @property
    def bounds(self):
        """Limits of the free widths, of shape (n_free, 2)."""
        return np.array([self.limits[name] for name in self.free]).reshape(-1, 2)

    def starts(self):
        """First guesses of the free widths, of shape (n_starts, n_free)."""
        low, high = self.limits["vsini"]
        vsini = np.unique(np.clip(_FIRST_VSINI, low, high))
        vmac = np.clip(_FIRST_VMAC, *self.limits["vmac"])
        start = {"vsini": vsini, "vmac": np.full(len(vsini), vmac)}
        if "resolving_power" in self.limits:
            power = np.sqrt(np.prod(self.limits["resolving_power"]))
            start["resolving_power"] = np.full(len(vsini), power)
        columns = [start[name] for name in self.free]
        return np.stack(columns, axis=1) if columns else np.zeros((1, 0))

    def coefficients(self, flux, widths):
        """Spline coefficients of flux (B, P) broadened by free widths (B, n_free)."""
        transfer, _ = self._transfer(widths)
        spectrum = self.convolver.transform(flux)
        return self.convolver.coefficients(spectrum * transfer.to(flux))

    def linearize(self, flux, jacobian, widths):
        """Spline coefficients of broadened flux and derivatives.

        Their shape is (B, 1 + K + n_free, C): flux (B, P), its derivatives (B, K, P),
        and its derivatives by the free widths.
        """
        transfer, slopes = self._transfer(widths)
        spectrum = self.convolver.transform(torch.cat([flux[:, None], jacobian], dim=1))
        by_width = [spectrum[:, :1] * slope[:, None].to(flux) for slope in slopes]
        spectrum = spectrum * transfer[:, None].to(flux)
        return self.convolver.coefficients(torch.cat([spectrum, *by_width], dim=1))

    def _transfer(self, widths):
        """Transfer function (B, n), and its derivatives by the free widths."""
        k = self.convolver.k.to(widths.device)
        transfer, slopes = gaussian_transfer(k, k.new_tensor(self.sigma))[0], []
        for name, (low, high) in self.limits.items():
            if not high:
                continue
            width = widths.new_full((len(widths),), low)
            if name in self.free:
                width = widths[:, self.free.index(name)]
            value, slope = self._profile(name, k, width)
            slopes = [other * value for other in slopes]
            if name in self.free:
                slopes.append(transfer * slope)
            transfer = transfer * value
        return transfer.expand(len(widths), -1), slopes

    def _profile(self, name, k, width):
        """Transfer function of one of the widths, and its derivative by it."""
        if name == "vsini":
            return rotation_transfer(k, width, self.limb_darkening)
        if name == "vmac":
            return macroturbulence_transfer(k, width)
        return instrument_transfer(k, width, self.already)
