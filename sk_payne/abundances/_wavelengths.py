"""Wavelengths of observed pixels, and the pixels near those of the emulator."""

import numpy as np

from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.spectra import (
    C_KMS,
    convert_medium,
    describe_segments,
    touches_grid,
)

__all__ = ["is_near", "observed_wavelength", "pixels_in_reach", "require_overlap"]

# Largest relative difference of wavelengths of the same pixel: 0.3 km/s.
_SAME = 1e-6

# Largest relative difference of wavelengths in air and vacuum.
_MEDIUM = 3e-4


def observed_wavelength(emulator, spectra):
    """Return the wavelengths of spectra in the medium of the emulator.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    spectra : SpectrumSet
        Spectra of n stars.

    Returns
    -------
    wavelength : ndarray of shape (P,) or (n, P), or None
        Wavelengths in Å; None for flux on the grid of the emulator.

    Raises
    ------
    ValueError
        If the medium or the wavelengths of the emulator are unknown, or the number of
        pixels is wrong.
    WavelengthMismatchError
        If the emulator cannot be evaluated at these wavelengths.
    """
    n_pixels = spectra.shape[1]
    if spectra.wavelength is None:
        if n_pixels != emulator.n_pixels:
            raise ValueError(
                f"`X` must have the {emulator.n_pixels} pixels of the emulator; got "
                f"{n_pixels}. Spectra on other wavelengths go in as specutils Spectrum "
                "objects, if the emulator was trained with wavelengths."
            )
        return None
    if emulator.wavelength is not None:
        return _converted(spectra, emulator.medium)
    if emulator.pixels is None:
        raise ValueError(
            "`X` has wavelengths, but those of the emulator are not known. Pass "
            "`wavelength=` and `medium=` to SpectrumEmulator and train it again, or "
            "plain arrays of flux on the pixels of the emulator."
        )
    wavelength = spectra.wavelength
    if emulator.pixels_medium is not None:
        wavelength = _converted(spectra, emulator.pixels_medium)
    if (
        n_pixels != emulator.n_pixels
        or not (
            np.isclose(wavelength, emulator.pixels, rtol=_SAME, atol=0)
            | (spectra.ivar == 0)
        ).all()
    ):
        raise WavelengthMismatchError(
            "`X` must be on the wavelengths of the training spectra, as the emulator "
            "cannot be evaluated at others. Resample the spectra, or use a "
            "SpectrumEmulator that is not inside another estimator."
        )
    return None


def _converted(spectra, medium):
    """Wavelengths of the spectra in the medium of the emulator."""
    if spectra.medium is None:
        raise ValueError(
            "`medium` of the spectra is not known. Pass "
            "AbundanceRegressor(..., medium='air') or 'vacuum', or set "
            'spectrum.meta["medium"]: they differ by 80 km/s.'
        )
    return convert_medium(spectra.wavelength, spectra.medium, medium)


def require_overlap(emulator, spectra, wavelength, velocity_range):
    """Refuse spectra if none of them shares wavelengths with the emulator.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    spectra : SpectrumSet
        Spectra of n stars.
    wavelength : ndarray of shape (P,) or (n, P), or None
        Wavelengths in Å, from `observed_wavelength`.
    velocity_range : tuple of float or None
        Lowest and highest velocity in km/s; None if it is not fitted.

    Raises
    ------
    WavelengthMismatchError
        If no star has a good pixel near the emulator.
    """
    if wavelength is None or not len(spectra):
        return
    near = is_near(emulator, spectra, wavelength, velocity_range)
    is_good = spectra.ivar > 0
    if is_good.any() and not (near & is_good).any():
        raise WavelengthMismatchError(
            f"`X` covers {wavelength.min():.1f}-{wavelength.max():.1f} Å, but the "
            f"emulator knows {describe_segments(emulator.wavelength)}. Pass spectra "
            "of that range, or an emulator that covers theirs."
        )


def is_near(emulator, spectra, wavelength, velocity_range):
    """Find the pixels that a velocity can bring to the wavelengths of the emulator.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    spectra : SpectrumSet
        Spectra of n stars.
    wavelength : ndarray of shape (P,) or (n, P), or None
        Wavelengths in Å, from `observed_wavelength`.
    velocity_range : tuple of float or None
        Lowest and highest velocity in km/s; None if it is not fitted.

    Returns
    -------
    near : ndarray of shape (n, P), bool
        True for all pixels without wavelengths.
    """
    if wavelength is None:
        return np.ones(spectra.shape, dtype=bool)
    reach = 0.0 if velocity_range is None else np.abs(velocity_range).max() / C_KMS
    near = touches_grid(
        wavelength / (1 + reach), wavelength / (1 - reach), emulator.wavelength
    )
    return np.broadcast_to(near, spectra.shape)


def pixels_in_reach(emulator, spectra, velocities):
    """Find the pixels near the wavelengths of the emulator.

    A spectrum of a whole spectrograph then costs no more than this part of it.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    spectra : SpectrumSet
        Spectra of n stars.
    velocities : tuple of float
        Lowest and highest velocity of any star, in km/s.

    Returns
    -------
    near : slice
        From the first to the last such pixel; all if none is near, or if the spectra
        have arms.
    """
    wavelength, grid = spectra.wavelength, emulator.wavelength
    if wavelength is None or grid is None or spectra.arm is not None:
        return slice(None)
    reach = _MEDIUM + float(np.abs(velocities).max()) / C_KMS
    near = (wavelength > grid[0] * (1 - reach)) & (wavelength < grid[-1] * (1 + reach))
    columns = np.flatnonzero(np.atleast_2d(near).any(axis=0))
    return slice(columns[0], columns[-1] + 1) if len(columns) else slice(None)
