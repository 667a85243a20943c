"""Warning of flux at another level than that of the emulator, before the fit."""

import warnings

import numpy as np

from sk_payne.abundances._wavelengths import is_near
from sk_payne.exceptions import FluxLevelWarning

__all__ = ["warn_of_level"]

# Number of model spectra whose range is the level of the emulator, and the factor by
# which the median flux of a star may be beyond it.
_N_SPECTRA, _FACTOR = 32, 2.0

# Standard errors by which the median must be beyond that for a warning.
_SIGNIFICANT = 5.0

# Standard error of the median of Gaussian noise, in units of that of the mean.
_OF_MEDIAN = np.sqrt(np.pi / 2)


def warn_of_level(emulator, spectra, wavelength, observation):
    """Warn of stars whose flux is far from that of all model spectra.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    spectra : SpectrumSet
        Spectra of n stars. Those with fewer than half of their pixels good are not
        judged.
    wavelength : ndarray of shape (P,) or (n, P), or None
        Wavelengths of the pixels in Å; None for those of the emulator.
    observation : Observation
        Checked observation. With a continuum or stages, which set the level, or an
        emulator without wavelengths, spectra are not judged.

    Warns
    -----
    FluxLevelWarning
        If the flux of a star is far from that of all model spectra.
    """
    if emulator.wavelength is None:
        return
    if observation.continuum_degree is not None or observation.stages:
        return
    near = is_near(emulator, spectra, wavelength, observation.velocity_range)
    real = near & (np.arange(spectra.shape[1]) < spectra.n_pixels[:, None])
    good = real & (spectra.ivar > 0)
    rows = np.flatnonzero(good.sum(axis=1) > real.sum(axis=1) / 2)
    if not len(rows):
        return
    levels = _levels(emulator, wavelength, good)
    odd = []
    for row in rows:
        pixels = good[row]
        lowest, highest = (
            float(np.median((one if one.ndim == 1 else one[row])[pixels]))
            for one in levels
        )
        median = float(np.median(spectra.flux[row, pixels]))
        error = np.median(spectra.ivar[row, pixels] ** -0.5) / np.sqrt(pixels.sum())
        margin = _SIGNIFICANT * _OF_MEDIAN * error
        is_low = median + margin < lowest / _FACTOR
        if lowest > 0 and (is_low or median - margin > highest * _FACTOR):
            odd.append((row, median, lowest, highest))
    if odd:
        row, median, lowest, highest = odd[0]
        warnings.warn(
            f"The flux of {len(odd)} of {len(spectra)} spectra is far from that of the "
            f"emulator. The first is spectrum {row}: its median is {median:.4g}, that "
            f"of model spectra is {lowest:.4g} to {highest:.4g}. Labels cannot make up "
            "for that. Pass Observation(continuum_degree=2) to fit a continuum, or "
            "flux of the kind that the emulator was trained on.",
            FluxLevelWarning,
            stacklevel=5,
        )


def _levels(emulator, wavelength, good):
    """Smallest and largest flux of model spectra at the pixels of the stars."""
    if wavelength is not None:
        seen = np.broadcast_to(wavelength, good.shape)[good]
        emulator = emulator.slice_grid(*emulator.pixels_of(seen.min(), seen.max()))
    flux = emulator.template_flux[:_N_SPECTRA].numpy()
    levels = flux.min(axis=0), flux.max(axis=0)
    if wavelength is None:
        return levels
    return tuple(np.interp(wavelength, emulator.wavelength, one) for one in levels)
