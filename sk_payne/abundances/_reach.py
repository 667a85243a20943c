"""The pixels of observed spectra that an emulator can reach.

It is here so that the spectrum of a whole spectrograph costs no more than its part near
the emulator.
"""

import numpy as np

from sk_payne.spectra import C_KMS

__all__ = ["pixels_in_reach"]

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
        With their velocities.

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


def _largest(velocities):
    """Largest of some velocities over that of light, infinite for no numbers."""
    if velocities is None:
        return 0.0
    try:
        return float(np.abs(np.asarray(velocities, dtype=np.float64)).max()) / C_KMS
    except (TypeError, ValueError):
        return np.inf
