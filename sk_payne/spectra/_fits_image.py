"""Spectra that are one row of an image, whose header has the wavelengths as a formula.

It is here since that is how most spectrographs and IRAF write single spectra, and since
specutils takes logarithms of IRAF for wavelengths.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._columns import errors_and_mask, role_of
from sk_payne.spectra._frame import read_frame
from sk_payne.spectra._own_files import scale_to_angstrom
from sk_payne.spectra._spectrum_file import (
    agreed_medium,
    as_unit,
    describe_hdus,
    image_of,
    make_spectrum,
)

__all__ = ["is_fits_image", "read_fits_image"]

# Whoever means Å and writes less has written a logarithm or another unit.
_SHORTEST = 100.0


def is_fits_image(hdus):
    """Tell whether a FITS file has an image of one row with CRVAL1 and a step."""
    return _image_hdu(hdus) is not None


def read_fits_image(hdus, *, medium=None, wavelength_unit=None, flux_unit=None):
    """Read one row of flux; other images may hold its errors and its mask."""
    from astropy import units

    number = _image_hdu(hdus)
    if number is None:
        raise FileFormatError(
            "It has no image of one row with the keywords CRVAL1 and CDELT1 or CD1_1, "
            f"but {describe_hdus(hdus)}. Build a specutils Spectrum from its arrays."
        )
    header = hdus[number].header
    flux = image_of(hdus, number)
    unit = header.get("BUNIT", "") if flux_unit is None else flux_unit
    unit = _understood(unit, "the flux", "flux_unit")
    return make_spectrum(
        _wavelengths(header, flux.size, wavelength_unit),
        flux.ravel(),
        **_errors_and_mask(hdus, number, flux.shape),
        unit=units.dimensionless_unscaled if unit is None else unit,
        medium=agreed_medium(_stated_medium(header), medium),
        frame=read_frame(header.get("FRAME"), header.get("SPECSYS")),
        name=hdus[0].header.get("OBJECT", header.get("OBJECT")),
    )


def _image_hdu(hdus):
    """Return the number of the first image of one row with a scale of wavelengths."""
    for number, hdu in enumerate(hdus):
        if hdu.is_image and hdu.shape and hdu.shape[-1] == np.prod(hdu.shape):
            header = hdu.header
            if "CRVAL1" in header and ("CDELT1" in header or "CD1_1" in header):
                return number
    return None


def _errors_and_mask(hdus, number, shape):
    """Read what images are called as errors and mask; name all the others."""
    images = {
        hdu.name or str(i): hdu.name or i
        for i, hdu in enumerate(hdus)
        if hdu.is_image and hdu.shape and i != number
    }

    def read(name, power):
        return np.array(image_of(hdus, images[name], shape=shape), np.float64).ravel()

    found = errors_and_mask(list(images), read)
    left = [n for n in images if role_of(n) in (None, "wavelength", "flux")]
    unread = [f"image {name}" for name in found["unread"] + left]
    return found | {"unread": unread}


def _wavelengths(header, n_pixels, unit):
    """Return wavelengths in Å, linear in the pixels or their logarithm.

    Logarithms are those of FITS (WAVE-LOG, AWAV-LOG; Greisen et al. 2006, equation 5)
    and of IRAF (DC-FLAG = 1: to the base of ten). Without CRPIX1, which the standard
    then takes for 0 and nobody means so, the first pixel is at CRVAL1.
    """
    start = float(header["CRVAL1"])
    step = float(header["CD1_1"] if "CD1_1" in header else header["CDELT1"])
    steps = (np.arange(1, n_pixels + 1) - float(header.get("CRPIX1", 1.0))) * step
    if header.get("DC-FLAG") == 1:
        values = 10.0 ** (start + steps)
    elif str(header.get("CTYPE1", "")).strip().upper().endswith("-LOG"):
        values = start * np.exp(steps / start)
    else:
        values = start + steps
    stated = header.get("CUNIT1", "Angstrom") if unit is None else unit
    values = values * scale_to_angstrom(
        _understood(stated, "the wavelengths", "wavelength_unit")
    )
    if not values.min() > _SHORTEST:
        raise FileFormatError(
            f"Its wavelengths would run from {values[0]:g} to {values[-1]:g} Å. Pass "
            "wavelength_unit= if CUNIT1 is missing or wrong; if they are logarithms "
            "that no DC-FLAG or CTYPE1 tells, build a specutils Spectrum."
        )
    return values


def _understood(unit, whose, option):
    try:
        return as_unit(str(unit).strip(), whose)
    except FileFormatError as error:
        raise FileFormatError(f"{error} Pass {option}=, an astropy unit.") from error


def _stated_medium(header):
    """Return what CTYPE1 says: AWAV is air; many who write WAVE mean air, too."""
    return "air" if str(header.get("CTYPE1", "")).upper().startswith("AWAV") else None
