"""The pixels of observed spectra that an emulator can reach.

It is here so that the spectrum of a whole spectrograph costs no more than its part near
the emulator.
"""

from dataclasses import replace

import numpy as np

from sk_payne.spectra import C_KMS

__all__ = ["cut_to", "pixels_in_reach"]

# Beyond the velocities asked for, as wavelengths may be in another medium.
_MARGIN = 3e-4


def pixels_in_reach(inverted, spectra, options):
    """Find the columns that may matter to a fit of any star.

    Parameters
    ----------
    inverted : Inverted
        The emulator.
    spectra : SpectrumSet
        Of n stars.
    options : Options
        Not checked yet.

    Returns
    -------
    seen : slice
        From the first to the last of them; all, if none is near, or if the spectra
        have arms, which count from the first.
    """
    wavelength, grid = spectra.wavelength, inverted.wavelength
    if wavelength is None or grid is None or spectra.arm is not None:
        return slice(None)
    reach = _MARGIN + _largest(options.velocity_range) + _largest(options.arm_offsets)
    near = (wavelength > grid[0] * (1 - reach)) & (wavelength < grid[-1] * (1 + reach))
    columns = np.flatnonzero(np.atleast_2d(near).any(axis=0))
    return slice(columns[0], columns[-1] + 1) if len(columns) else slice(None)


def cut_to(seen, spectra, options):
    """Leave the other pixels out.

    Parameters
    ----------
    seen : slice
        Of columns.
    spectra : SpectrumSet
        Of n stars with P pixels.
    options : Options
        A resolving power of each pixel is cut as well.

    Returns
    -------
    spectra : SpectrumSet
        Of n stars.
    options : Options
        For them.
    """
    n_pixels = spectra.shape[1]
    first, last, _ = seen.indices(n_pixels)
    if last - first == n_pixels:
        return spectra, options
    parts = {"flux": spectra.flux, "ivar": spectra.ivar} | {
        name: getattr(spectra, name) for name in ("wavelength", "resolving_power")
    }
    parts = {name: None if a is None else a[..., seen] for name, a in parts.items()}
    if spectra.resolution_matrix is not None:
        parts["resolution_matrix"] = spectra.resolution_matrix[:, seen]
    parts["n_pixels"] = np.clip(spectra.n_pixels - first, 0, last - first)
    power = options.resolving_power
    if not isinstance(power, tuple) and np.shape(power)[-1:] == (n_pixels,):
        options = replace(options, resolving_power=np.asarray(power)[..., seen])
    return spectra.replace(**parts), options


def _largest(velocities):
    """Largest of some velocities over that of light, infinite for no numbers."""
    if velocities is None:
        return 0.0
    try:
        return float(np.abs(np.asarray(velocities, dtype=np.float64)).max()) / C_KMS
    except (TypeError, ValueError):
        return np.inf
