"""Spectra of GALAH: one camera of DR3, and of reduction 6.0, which DR4 is made of.

specutils' loader takes the relative errors of GALAH for absolute ones. HDUs are found
by name, since their order differs between reductions.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._doppler import C_KMS
from sk_payne.spectra._header_statements import first_number, number_of, star_of
from sk_payne.spectra._spectrum_file import describe_hdus, image_of, make_spectrum

__all__ = ["is_galah_dr3", "is_galah_dr4", "read_galah_dr3", "read_galah_dr4"]

# Nominal, of the instrument (Kos et al. 2017).
_RESOLVING_POWER = 28000.0

# Wavelengths in Å between the four cameras, which are arms of one star.
_BETWEEN_CAMERAS = (5300.0, 6200.0, 7200.0)

# Difference of Doppler factors at both ends of a spectrum, 0.03 km/s.
_SAME_SHIFT = 1e-7


def is_galah_dr3(hdus):
    """Return whether a FITS file is that of one camera of GALAH DR3."""
    if len(hdus[0].shape) != 1 or is_galah_dr4(hdus):
        return False
    named = _named(hdus, "input_sigma") is not None
    return named or "GALAH" in str(hdus[0].header.get("ORIGIN", ""))


def is_galah_dr4(hdus):
    """Return whether a FITS file is that of one camera of reduction 6.0."""
    return len(hdus[0].shape) == 1 and _named(hdus, "relative_error") is not None


def read_galah_dr3(hdus, *, normalized=False):
    """Read the flux of one camera, or the flux that GALAH normalised."""
    return _read(hdus, normalized, "input_sigma", "normalised", _RESOLVING_POWER)


def read_galah_dr4(hdus, *, normalized=False):
    """Read the flux of one camera, normalised by the pipeline or not."""
    return _read(hdus, normalized, "relative_error", "normalized", _profile_of(hdus))


def _read(hdus, normalized, error_name, normalized_name, resolving_power):
    from astropy import units

    key = _number(hdus, normalized_name) if normalized else 0
    flux = image_of(hdus, key, n_dimensions=(1,))
    relative = image_of(hdus, _number(hdus, error_name), shape=flux.shape)
    with np.errstate(invalid="ignore"):
        error = np.abs(np.array(relative, dtype=np.float64) * flux)
    header = hdus[0].header
    wavelength = _axis(hdus, key)
    velocity = _velocity(_axis(hdus, 0), wavelength)
    return make_spectrum(
        wavelength,
        flux,
        error=error,
        unit=units.dimensionless_unscaled if normalized else units.count,
        medium="air",
        # DR3 shifts what it normalises to rest; reduction 6.0 leaves it where it was.
        frame="barycentric" if velocity == 0 else "rest",
        velocity=velocity if velocity != 0 else None,
        barycentric_correction=first_number(header, "BARYEFF"),
        name=header.get("OBJ_NAME") or star_of(header),
        resolving_power=resolving_power,
        arm=1 + int(np.searchsorted(_BETWEEN_CAMERAS, wavelength[0])),
    )


def _velocity(observed, shifted):
    """Velocity in km/s by which wavelengths were shifted, None if it is not one."""
    first, last = (observed / shifted)[[0, -1]]
    if abs(first - last) > _SAME_SHIFT:
        return None  # another grid
    return float(C_KMS * (first**2 - 1) / (first**2 + 1))


def _profile_of(hdus):
    """Return the resolving power at each pixel, from the width of the profile in Å."""
    number = _named(hdus, "resolution_profile")
    if number is None:
        return _RESOLVING_POWER
    wavelength = _axis(hdus, 0)
    width = image_of(hdus, number, shape=wavelength.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        power = wavelength / np.array(width, dtype=np.float64)
    return np.where(np.isfinite(power) & (power > 0), power, np.nan)


def _named(hdus, start):
    """Return the number of the HDU whose name starts so, or None."""
    names = (hdu.name.lower() for hdu in hdus)
    return next((i for i, name in enumerate(names) if name.startswith(start)), None)


def _number(hdus, start):
    number = _named(hdus, start)
    if number is None:
        raise FileFormatError(
            f"It has no HDU whose name starts with {start!r}, but "
            f"{describe_hdus(hdus)}. Check that the file is complete and of this "
            "format."
        )
    return number


def _axis(hdus, key):
    """Return wavelengths at each pixel of an image of one row."""
    header = hdus[key].header
    start, step = (number_of(header, name) for name in ("CRVAL1", "CDELT1"))
    # GALAH writes a reference pixel of 0 and means the first.
    reference = first_number(header, "CRPIX1") or 1
    n_pixels = len(image_of(hdus, key, n_dimensions=(1,)))
    return start + step * (np.arange(n_pixels) + 1 - reference)
