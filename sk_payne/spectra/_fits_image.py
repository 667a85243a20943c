"""Spectra in images of one row, whose header has a formula for the wavelengths.

Most spectrographs and IRAF write single spectra this way. specutils takes logarithms of
IRAF for wavelengths.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._columns import errors_and_mask, role_of
from sk_payne.spectra._file_units import unit_or_ask
from sk_payne.spectra._header_statements import (
    first_number,
    number_of,
    star_of,
    stated_frame,
    stated_medium,
)
from sk_payne.spectra._spectrum_file import (
    agreed_medium,
    describe_hdus,
    image_of,
    make_spectrum,
)
from sk_payne.spectra._wavelength_units import check_unstated_unit, scale_to_angstrom

__all__ = ["has_wavelengths", "is_fits_image", "read_fits_image", "wavelengths_of"]

# Names of an image of flux: flux, or a name that means nothing else.
_FLUX = (None, "flux")
# Names of images that hold neither flux, nor its error, nor its mask.
_LEFT = (None, "wavelength", "log wavelength", "flux")


def is_fits_image(hdus):
    """Return whether a FITS file has an image of one row with CRVAL1 and a step."""
    return _image_hdu(hdus) is not None


def read_fits_image(hdus, *, medium=None, wavelength_unit=None, flux_unit=None):
    """Read one row of flux; other images may hold its errors and its mask."""
    number = _image_hdu(hdus)
    if number is None:
        raise FileFormatError(
            "It has no image of one row with the keywords CRVAL1 and CDELT1 or CD1_1, "
            f"but {describe_hdus(hdus)}. Build a specutils Spectrum from its arrays."
        )
    header = hdus[number].header
    flux = image_of(hdus, number)
    unit = header.get("BUNIT", "") if flux_unit is None else flux_unit
    return make_spectrum(
        wavelengths_of(header, flux.size, wavelength_unit),
        flux.ravel(),
        **_errors_and_mask(hdus, number, flux.shape),
        unit=unit_or_ask(unit, "the flux", "flux_unit"),
        medium=agreed_medium(stated_medium(header, hdus[0].header), medium),
        frame=stated_frame(header, hdus[0].header),
        name=star_of(hdus[0].header, header),
        resolving_power=first_number(hdus[0].header, "SPEC_RES"),
    )


def has_wavelengths(header):
    """Return whether a header has a formula for wavelengths along the first axis."""
    return "CRVAL1" in header and ("CDELT1" in header or "CD1_1" in header)


def wavelengths_of(header, n_pixels, unit=None):
    """Return wavelengths in Å, linear in the pixels or their logarithm.

    Logarithms are those of FITS (WAVE-LOG, AWAV-LOG; Greisen et al. 2006, equation 5)
    and of IRAF (DC-FLAG = 1: to the base of ten). Without CRPIX1, which the standard
    then takes for 0 and nobody means so, the first pixel is at CRVAL1.

    Parameters
    ----------
    header : astropy header
        Header of the image.
    n_pixels : int
        Number of pixels in a row.
    unit : None or str or astropy unit
        Unit of the wavelengths instead of CUNIT1.

    Returns
    -------
    wavelength : ndarray of shape (n_pixels,)
        In Å.
    """
    start, step = number_of(header, "CRVAL1"), number_of(header, "CD1_1", "CDELT1")
    reference = first_number(header, "CRPIX1")
    first = 1.0 if reference is None else reference
    steps = (np.arange(1, n_pixels + 1) - first) * step
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if first_number(header, "DC-FLAG") == 1:
            values = 10.0 ** (start + steps)
        elif str(header.get("CTYPE1", "")).strip().upper().endswith("-LOG"):
            values = start * np.exp(steps / start)
        else:
            values = start + steps
    stated = header.get("CUNIT1") if unit is None else unit
    if not str(stated or "").strip():
        check_unstated_unit(values)
        return values
    return values * scale_to_angstrom(
        unit_or_ask(stated, "the wavelengths", "wavelength_unit")
    )


def _image_hdu(hdus):
    """Return the number of the first image of one row with a scale of wavelengths.

    One whose name is that of an error or a mask, such as RED_IVAR, is no flux.
    """
    for number, hdu in enumerate(hdus):
        if role_of(hdu.name) not in _FLUX:
            continue
        if hdu.is_image and hdu.shape and hdu.shape[-1] == np.prod(hdu.shape):
            if has_wavelengths(hdu.header) and hdu.shape[-1] > 0:
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

    # pipelines of ESO write a quality of 0 where a pixel is good
    is_eso = "ESO PRO CATG" in hdus[0].header
    stated = dict.fromkeys(images, "0 = good") if is_eso else None
    found = errors_and_mask(list(images), read, stated)
    left = [n for n in images if role_of(n) in _LEFT]
    unread = [f"image {name}" for name in found["unread"] + left]
    return found | {"unread": unread}
