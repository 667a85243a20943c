"""Spectra of SDSS: `spec` files of SDSS, BOSS, eBOSS and SDSS-V, and mwmStar, mwmVisit.

specutils' loaders of them give the same wavelengths, flux and errors. They drop the
column of the resolution, mask pixels of APOGEE for bits that only warn, and fail on
files without checksums.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._apogee import APOGEE_BAD_BITS, APOGEE_RESOLVING_POWER
from sk_payne.spectra._bits import flagged
from sk_payne.spectra._header_statements import first_number, number_of, star_of
from sk_payne.spectra._spectrum_file import (
    check_columns,
    column_of,
    data_of,
    describe_hdus,
    make_spectrum,
    pick_hdu,
)

__all__ = ["is_mwm", "is_sdss_spec", "read_mwm", "read_sdss_spec"]

_FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))
_COLUMNS_OF_MWM = ("flux", "ivar", "pixel_flags")


# spec ----------------------------------------------------------------------------


def is_sdss_spec(hdus):
    """Return whether a FITS file is a `spec` file."""
    return len(hdus) > 1 and {"loglam", "flux", "ivar"} <= _columns(hdus[1])


def read_sdss_spec(hdus, *, bad_bits=None):
    """Read the combined spectrum of all exposures."""
    log_wavelength, flux, ivar = (
        column_of(hdus, 1, name) for name in ("loglam", "flux", "ivar")
    )
    names = _columns(hdus[1])
    bits = None
    if "and_mask" in names:
        bits = column_of(hdus, 1, "and_mask").astype(np.int64)
    header = hdus[0].header
    return make_spectrum(
        10**log_wavelength,
        flux,
        ivar=ivar,
        bad=None if bits is None else flagged(bits, bad_bits),
        unit=_unit(),
        medium="vacuum",
        frame="heliocentric",
        name=_name_of_spec(header),
        resolving_power=(
            _resolving_power(column_of(hdus, 1, "wdisp"), log_wavelength)
            if "wdisp" in names
            else None
        ),
        redshift=_redshift(hdus),
        **({} if bits is None else {"bitmask": bits}),
    )


def _resolving_power(sigma, log_wavelength):
    """Return the resolving power of a Gaussian whose sigma is given in pixels."""
    step = np.log(10) * np.gradient(log_wavelength)
    with np.errstate(divide="ignore", invalid="ignore"):
        power = 1 / (_FWHM_PER_SIGMA * sigma * step)
    return np.where(np.isfinite(power) & (power > 0), power, np.nan)


def _name_of_spec(header):
    """Return what the file calls the star, or plate, MJD and fiber."""
    name = star_of(header)
    if name is not None:
        return name
    found = [header.get(key) for key in ("PLATEID", "MJD", "FIBERID")]
    return None if None in found else "-".join(map(str, found))


def _redshift(hdus):
    """Return the redshift that the pipeline measured, or None."""
    if len(hdus) < 3 or "z" not in _columns(hdus[2]) or len(data_of(hdus, 2)) != 1:
        return None
    return float(data_of(hdus, 2)["Z"][0])


# mwm -----------------------------------------------------------------------------


def is_mwm(hdus):
    """Return whether a FITS file is an mwmStar or mwmVisit file."""
    return "SDSS_ID" in hdus[0].header and bool(_tables_of_mwm(hdus))


def read_mwm(hdus, *, bad_bits=None):
    """Read every spectrum of a star: combined ones are arms of it, visits are not."""
    from specutils import SpectrumList

    for key, hdu in enumerate(hdus):
        is_spectrum = hdu.name.upper().startswith(("BOSS", "APOGEE"))
        if is_spectrum and not hdu.is_image and len(data_of(hdus, key)):
            check_columns(hdus, key, *_COLUMNS_OF_MWM)
    keys = [key for key in _tables_of_mwm(hdus) if len(data_of(hdus, key))]
    if not keys:
        raise FileFormatError(
            "It has no table with the columns flux, ivar and pixel_flags that has a "
            f"row, but {describe_hdus(hdus)}. Check that the file is complete and of "
            "this format."
        )
    is_star = all(len(data_of(hdus, key)) == 1 for key in keys)
    return SpectrumList(
        [
            _read_row(hdus, key, row, bad_bits, is_star)
            for key in keys
            for row in range(len(data_of(hdus, key)))
        ]
    )


def _tables_of_mwm(hdus):
    wanted = set(_COLUMNS_OF_MWM)
    return [key for key, hdu in enumerate(hdus) if wanted <= _columns(hdu)]


def _read_row(hdus, key, row, bad_bits, is_star):
    hdu = hdus[key]
    is_apogee = "APOGEE" in hdu.name.upper()
    if bad_bits is None and is_apogee:
        bad_bits = APOGEE_BAD_BITS
    flux = column_of(hdus, key, "flux", row)
    bits = column_of(hdus, key, "pixel_flags", row).astype(np.int64)
    return make_spectrum(
        _wavelength_of_mwm(hdus, key, row),
        flux,
        ivar=column_of(hdus, key, "ivar", row),
        bad=flagged(bits, bad_bits),
        unit=_unit(),
        medium="vacuum",
        frame="rest",
        name=hdus[0].header["SDSS_ID"],
        resolving_power=APOGEE_RESOLVING_POWER if is_apogee else None,
        velocity=_velocity_of_mwm(hdus, key, row),
        bitmask=bits,
        **({"arm": hdu.name} if is_star else {}),
    )


def _velocity_of_mwm(hdus, key, row):
    if "v_rad" not in _columns(hdus[key]):
        return None
    velocity = float(data_of(hdus, key)["v_rad"][row])
    return velocity if np.isfinite(velocity) else None


def _wavelength_of_mwm(hdus, key, row):
    """Return the column of wavelengths, or the logarithmic grid of the header."""
    if "wavelength" in _columns(hdus[key]):
        return column_of(hdus, key, "wavelength", row)
    header = pick_hdu(hdus, key).header
    start, step, n = (number_of(header, k) for k in ("CRVAL", "CDELT", "NPIXELS"))
    reference = first_number(header, "CRPIX") or 1
    n_pixels = column_of(hdus, key, "flux", row).size
    if n != n_pixels:
        raise FileFormatError(
            f"HDU {key} states NPIXELS = {n:g}, and its flux has {n_pixels} pixels. "
            "Copy the file again."
        )
    return 10 ** (start + step * (np.arange(n_pixels) + 1 - reference))


# Both ----------------------------------------------------------------------------


def _columns(hdu):
    """Return the names of columns in small letters; none of an image."""
    return set() if hdu.is_image else {name.lower() for name in hdu.columns.names}


def _unit():
    from astropy import units

    return units.Unit("1e-17 erg / (s cm2 Angstrom)")
