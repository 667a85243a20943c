"""Spectra that surveys keep as images: APOGEE (apStar, aspcapStar) and GALAH DR3.

It is here since specutils' loaders of both lose what a fit needs: the one of APOGEE the
bitmask, the one of GALAH that the errors are relative.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._doppler import C_KMS
from sk_payne.spectra._spectrum_file import (
    data_of,
    first_number,
    image_of,
    keyword,
    make_spectrum,
    pick_hdu,
)

__all__ = [
    "is_apstar",
    "is_aspcapstar",
    "is_galah",
    "read_apstar",
    "read_aspcapstar",
    "read_galah",
]

# The common grid of APOGEE, log10 of 15100.802 Å in steps of 6e-6
# (sdss4.org/dr17/irspec/spectra).
_APOGEE_START, _APOGEE_STEP = 4.179, 6e-6

# Bits of APOGEE_PIXMASK that the survey's own software calls bad (level 1 in its class
# PixelBitMask): BADPIX 0, CRPIX 1, SATPIX 2, UNFIXABLE 3, BADDARK 4, BADFLAT 5,
# BADERR 6, NOSKY 7, NOT_ENOUGH_PSF 14. The others warn: LITTROW_GHOST 8, PERSIST_HIGH,
# _MED and _LOW 9-11, SIG_SKYLINE 12, SIG_TELLURIC 13.
_APOGEE_BAD_BITS = (0, 1, 2, 3, 4, 5, 6, 7, 14)
_APOGEE_BAD = sum(1 << bit for bit in _APOGEE_BAD_BITS)

# Nominal, of the instruments (Majewski et al. 2017; Kos et al. 2017).
_APOGEE_RESOLVING_POWER = 22500.0
_GALAH_RESOLVING_POWER = 28000.0

# Difference of Doppler factors at both ends of a spectrum, 0.03 km/s.
_SAME_SHIFT = 1e-7


# APOGEE --------------------------------------------------------------------------


def is_apstar(hdus):
    """Tell whether a FITS file is an apStar (or asStar) file."""
    return _is_apogee(hdus) and not is_aspcapstar(hdus)


def is_aspcapstar(hdus):
    """Tell whether a FITS file is an aspcapStar file."""
    # HDU 3 is the model there, and in apStar files the bitmask.
    return _is_apogee(hdus) and len(hdus) > 3 and hdus[3].header["BITPIX"] < 0


def read_apstar(hdus, *, row=0):
    """Read the combined spectrum, or other rows, of an apStar file."""
    flux = image_of(hdus, 1, n_dimensions=(1, 2))
    error = image_of(hdus, 2, shape=flux.shape)
    bitmask = image_of(hdus, 3, shape=flux.shape)
    if bitmask.dtype.kind not in "iu":
        raise FileFormatError(
            f"HDU 3 must hold a bitmask of integers; it holds {bitmask.dtype}. In "
            "aspcapStar files it is a model: pass format='apogee-aspcapstar' for one."
        )
    wavelength = _grid_of_apogee(hdus)
    flux, error, bitmask = (np.atleast_2d(image) for image in (flux, error, bitmask))
    name = hdus[0].header.get("OBJID")

    header = hdus[0].header

    def spectrum(one):
        bits = bitmask[_checked_row(one, len(flux))].astype(np.int64)
        visit = _visit(one, len(flux))
        return make_spectrum(
            wavelength,
            flux[one],
            error=error[one],
            bad=(bits & _APOGEE_BAD) != 0,
            unit=_apogee_unit(),
            medium="vacuum",
            frame="rest",
            name=name,
            resolving_power=_APOGEE_RESOLVING_POWER,
            velocity=first_number(header, f"VHBARY{visit}", f"VHELIO{visit}"),
            barycentric_correction=first_number(header, f"BC{visit}"),
            bitmask=bits,
        )

    if np.ndim(row) == 0:
        return spectrum(row)
    from specutils import SpectrumList

    return SpectrumList([spectrum(one) for one in row])


def read_aspcapstar(hdus):
    """Read the pseudo-continuum-normalised spectrum of an aspcapStar file."""
    from astropy import units

    flux = image_of(hdus, 1, n_dimensions=(1,))
    return make_spectrum(
        _grid_of_apogee(hdus),
        flux,
        error=image_of(hdus, 2, shape=flux.shape),
        unit=units.dimensionless_unscaled,
        medium="vacuum",
        frame="rest",
        velocity=first_number(hdus[0].header, "VHBARY", "VHELIO"),
        name=_aspcap_name(hdus),
        resolving_power=_APOGEE_RESOLVING_POWER,
        model=np.array(image_of(hdus, 3, shape=flux.shape), dtype=np.float64),
    )


def _is_apogee(hdus):
    if len(hdus) < 3 or not hdus[1].is_image:
        return False
    header = hdus[1].header
    return (
        abs(header.get("CRVAL1", 0) - _APOGEE_START) < 1e-4
        and abs(header.get("CDELT1", 0) - _APOGEE_STEP) < 1e-9
    )


def _grid_of_apogee(hdus):
    return 10 ** _linear_axis(hdus, 1)


def _apogee_unit():
    from astropy import units

    return units.Unit("1e-17 erg / (s cm2 Angstrom)")


def _checked_row(row, n_rows):
    if not isinstance(row, (int, np.integer)) or not 0 <= row < n_rows:
        raise ValueError(
            f"`row` must be an int from 0 to {n_rows - 1} for this file, or several of "
            f"them; got {row!r}. Rows 0 and 1 are combined spectra, the others visits."
        )
    return row


def _visit(row, n_rows):
    """Give the number that keywords of a visit end in, "" for combined spectra."""
    if n_rows == 1:
        return 1
    return "" if row < 2 else row - 1


def _aspcap_name(hdus):
    if len(hdus) < 5 or hdus[4].is_image or "APOGEE_ID" not in hdus[4].columns.names:
        return None
    return data_of(hdus, 4)["APOGEE_ID"][0]


# GALAH ---------------------------------------------------------------------------


def is_galah(hdus):
    """Tell whether a FITS file is that of one camera of GALAH DR3."""
    if len(hdus[0].shape) != 1:
        return False
    named = len(hdus) > 1 and hdus[1].name == "INPUT_SIGMA"
    return named or "GALAH" in str(hdus[0].header.get("ORIGIN", ""))


def read_galah(hdus, *, normalized=False):
    """Read the flux of one camera, normalised by GALAH or not."""
    from astropy import units

    key = 4 if normalized else 0
    flux = image_of(hdus, key, n_dimensions=(1,))
    relative = np.array(image_of(hdus, 1, shape=flux.shape), dtype=np.float64)
    with np.errstate(invalid="ignore"):
        error = np.abs(relative * flux)
    return make_spectrum(
        _linear_axis(hdus, key),
        flux,
        error=error,
        unit=units.dimensionless_unscaled if normalized else units.count,
        medium="air",
        frame="rest" if normalized else "barycentric",
        velocity=_velocity_of_galah(hdus) if normalized else None,
        barycentric_correction=first_number(hdus[0].header, "BARYEFF"),
        name=hdus[0].header.get("OBJECT"),
        resolving_power=_GALAH_RESOLVING_POWER,
    )


def _velocity_of_galah(hdus):
    """Velocity in km/s by which wavelengths of normalised flux were shifted to rest."""
    first, last = (_linear_axis(hdus, 0) / _linear_axis(hdus, 4))[[0, -1]]
    if abs(first - last) > _SAME_SHIFT:
        return None  # another grid
    return float(C_KMS * (first**2 - 1) / (first**2 + 1))


def _linear_axis(hdus, key):
    """Return what the header says of the last axis of an image, at each pixel."""
    start, step = (float(keyword(hdus, key, name)) for name in ("CRVAL1", "CDELT1"))
    # GALAH writes a reference pixel of 0 and means the first.
    reference = pick_hdu(hdus, key).header.get("CRPIX1", 1) or 1
    n_pixels = pick_hdu(hdus, key).shape[-1]
    return start + step * (np.arange(n_pixels) + 1 - reference)
