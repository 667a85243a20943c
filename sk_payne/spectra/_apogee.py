"""Spectra of APOGEE: apStar, aspcapStar and apVisit files.

specutils' loaders of them drop the bitmask, or mask pixels for bits that only warn.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._bits import flagged
from sk_payne.spectra._header_statements import first_number, number_of, star_of
from sk_payne.spectra._spectrum_file import data_of, image_of, make_spectrum, pick_hdu

__all__ = [
    "APOGEE_BAD_BITS",
    "APOGEE_RESOLVING_POWER",
    "is_apstar",
    "is_apvisit",
    "is_aspcapstar",
    "read_apstar",
    "read_apvisit",
    "read_aspcapstar",
]

# The common grid of APOGEE, log10 of 15100.802 Å in steps of 6e-6
# (sdss4.org/dr17/irspec/spectra).
_APOGEE_START, _APOGEE_STEP = 4.179, 6e-6

# Bits of APOGEE_PIXMASK that the survey's own software calls bad (level 1 in its class
# PixelBitMask): BADPIX 0, CRPIX 1, SATPIX 2, UNFIXABLE 3, BADDARK 4, BADFLAT 5,
# BADERR 6, NOSKY 7, NOT_ENOUGH_PSF 14. The others warn: LITTROW_GHOST 8, PERSIST_HIGH,
# _MED and _LOW 9-11, SIG_SKYLINE 12, SIG_TELLURIC 13.
APOGEE_BAD_BITS = (0, 1, 2, 3, 4, 5, 6, 7, 14)

# Nominal, of the instrument (Majewski et al. 2017).
APOGEE_RESOLVING_POWER = 22500.0


# Combined spectra ----------------------------------------------------------------


def is_apstar(hdus):
    """Return whether a FITS file is an apStar (or asStar) file."""
    return _is_on_the_grid(hdus) and not is_aspcapstar(hdus)


def is_aspcapstar(hdus):
    """Return whether a FITS file is an aspcapStar file."""
    # HDU 3 is the model there, and in apStar files the bitmask.
    return (
        _is_on_the_grid(hdus)
        and len(hdus) > 3
        and (first_number(hdus[3].header, "BITPIX") or 0) < 0
    )


def read_apstar(hdus, *, row=0, bad_bits=APOGEE_BAD_BITS):
    """Read the combined spectrum, or other rows, of an apStar file."""
    flux = image_of(hdus, 1, n_dimensions=(1, 2))
    error = image_of(hdus, 2, shape=flux.shape)
    bitmask = _bitmask(hdus, flux.shape)
    wavelength = _grid(hdus)
    flux, error, bitmask = (np.atleast_2d(image) for image in (flux, error, bitmask))
    header = hdus[0].header

    def spectrum(one):
        bits = bitmask[_checked_row(one, len(flux))]
        visit = _visit(one, len(flux))
        return make_spectrum(
            wavelength,
            flux[one],
            error=error[one],
            bad=flagged(bits, bad_bits),
            unit=_unit(),
            medium="vacuum",
            frame="rest",
            name=header.get("OBJID"),
            resolving_power=APOGEE_RESOLVING_POWER,
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
        _grid(hdus),
        flux,
        error=image_of(hdus, 2, shape=flux.shape),
        unit=units.dimensionless_unscaled,
        medium="vacuum",
        frame="rest",
        velocity=first_number(hdus[0].header, "VHBARY", "VHELIO"),
        name=_aspcap_name(hdus),
        resolving_power=APOGEE_RESOLVING_POWER,
        model=np.array(image_of(hdus, 3, shape=flux.shape), dtype=np.float64),
    )


def _is_on_the_grid(hdus):
    if len(hdus) < 3 or not hdus[1].is_image:
        return False
    start, step = (first_number(hdus[1].header, k) or 0 for k in ("CRVAL1", "CDELT1"))
    return abs(start - _APOGEE_START) < 1e-4 and abs(step - _APOGEE_STEP) < 1e-9


def _grid(hdus):
    header = pick_hdu(hdus, 1).header
    start, step = (number_of(header, name) for name in ("CRVAL1", "CDELT1"))
    reference = first_number(header, "CRPIX1") or 1
    n_pixels = pick_hdu(hdus, 1).shape[-1]
    return 10 ** (start + step * (np.arange(n_pixels) + 1 - reference))


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


# Visits --------------------------------------------------------------------------


def is_apvisit(hdus):
    """Return whether a FITS file is an apVisit (or asVisit) file."""
    return (
        len(hdus) > 4
        and all(hdu.is_image and hdu.shape[:1] == (3,) for hdu in hdus[1:5])
        and str(hdus[4].header.get("BUNIT", "")).lower().startswith("wave")
    )


def read_apvisit(hdus, *, bad_bits=APOGEE_BAD_BITS):
    """Read the three chips of one visit, which are arms of one star."""
    from specutils import SpectrumList

    flux = image_of(hdus, 1, n_dimensions=(2,))
    error = image_of(hdus, 2, shape=flux.shape)
    bitmask = _bitmask(hdus, flux.shape)
    wavelength = image_of(hdus, 4, shape=flux.shape)
    header = hdus[0].header
    return SpectrumList(
        [
            make_spectrum(
                wavelength[chip],
                flux[chip],
                error=error[chip],
                bad=flagged(bitmask[chip], bad_bits),
                unit=_unit(),
                medium="vacuum",
                frame="topocentric",
                name=star_of(header) or "star",
                resolving_power=APOGEE_RESOLVING_POWER,
                barycentric_correction=first_number(header, "BC"),
                bitmask=bitmask[chip],
                arm=chip,
            )
            for chip in range(len(flux))
        ]
    )


# Both ----------------------------------------------------------------------------


def _bitmask(hdus, shape):
    bitmask = image_of(hdus, 3, shape=shape)
    if bitmask.dtype.kind not in "iu":
        raise FileFormatError(
            f"HDU 3 must hold a bitmask of integers; it holds {bitmask.dtype}. In "
            "aspcapStar files it is a model: pass format='apogee-aspcapstar' for one."
        )
    return bitmask.astype(np.int64)


def _unit():
    from astropy import units

    return units.Unit("1e-17 erg / (s cm2 Angstrom)")
