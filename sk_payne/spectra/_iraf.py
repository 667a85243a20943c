"""Spectra of IRAF with several rows: multispec and equispec images.

Each row has its dispersion: linear, logarithmic, or a nonlinear function of the pixel.
specutils' loader leaves out weights, zero points, all functions but the first, and
errors.
"""

import re

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._file_units import unit_or_ask
from sk_payne.spectra._fits_image import has_wavelengths, wavelengths_of
from sk_payne.spectra._header_statements import (
    first_number,
    star_of,
    stated_frame,
    stated_medium,
)
from sk_payne.spectra._iraf_functions import nonlinear_wavelength
from sk_payne.spectra._spectrum_file import agreed_medium, image_of, make_spectrum
from sk_payne.spectra._wavelength_units import check_unstated_unit, scale_to_angstrom

__all__ = ["is_iraf", "read_iraf"]

# FITS drops the blanks at the end of a card; IRAF counts on them.
_CARD = 68
_SPEC = re.compile(r'spec(\d+)\s*=\s*"([^"]*)"?')
_UNITS = re.compile(r"\bunits=(\S+)")

_LINEAR, _LOGARITHMIC, _NONLINEAR = 0, 1, 2


def is_iraf(hdus):
    """Return whether the first HDU is an image of IRAF with a spectrum in each row."""
    header, shape = hdus[0].header, hdus[0].shape
    if not hdus[0].is_image or len(shape) not in (2, 3):
        return False
    if _is_multispec(header):
        return True
    is_equispec = "equispec" in str(header.get("WAT0_001", "")).lower()
    return is_equispec and has_wavelengths(header)


def read_iraf(hdus, *, medium=None, wavelength_unit=None, flux_unit=None):
    """Read each row; the bands that IRAF calls sigma hold errors."""
    from specutils import SpectrumList

    header = hdus[0].header
    image = image_of(hdus, 0, n_dimensions=(2, 3))
    bands = image[None] if image.ndim == 2 else image
    error, unread = _bands(header, len(bands))
    n_rows, n_pixels = bands.shape[1:]
    dispersions = _dispersions(header) if _is_multispec(header) else None
    unit = header.get("BUNIT", "") if flux_unit is None else flux_unit
    names = [str(header.get(f"APID{row + 1}", "")).strip() for row in range(n_rows)]
    # fibres have names of their own; orders of one star have none, or one name
    are_stars = n_rows > 1 and len(set(names)) == n_rows
    spectra = []
    for row in range(n_rows):
        if dispersions is None:
            wavelength = wavelengths_of(
                header, n_pixels, wavelength_unit or _unit_of(header)
            )
        else:
            wavelength = _multispec_wavelength(
                header, dispersions, row, n_pixels, wavelength_unit
            )
        good = slice(len(wavelength))  # rows may be shorter than the image
        spectra.append(
            make_spectrum(
                wavelength,
                bands[0, row, good],
                error=None if error is None else bands[error, row, good],
                unit=unit_or_ask(unit, "the flux", "flux_unit"),
                medium=agreed_medium(stated_medium(header), medium),
                frame=stated_frame(header),
                name=names[row] if are_stars else star_of(header) or "star",
                **({} if are_stars or n_rows == 1 else {"arm": row + 1}),
                unread=unread if row == 0 else (),
            )
        )
    return spectra[0] if n_rows == 1 else SpectrumList(spectra)


def _is_multispec(header):
    words = (header.get("CTYPE1", ""), header.get("WAT0_001", ""))
    return any("multispe" in str(word).lower() for word in words)


def _bands(header, n_bands):
    """Return the number of the band of errors, or None, and the names of the others."""
    labels = [str(header.get(f"BANDID{n + 1}", "")).strip() for n in range(n_bands)]
    error, unread = None, []
    for number, label in enumerate(labels[1:], start=1):
        if label.lower().startswith("sigma") and error is None:
            error = number
        elif not label:
            unread.append(f"band {number + 1}, which has no BANDID")
    return error, unread


# Dispersions ---------------------------------------------------------------------


def _dispersions(header):
    """Return {row: words} from the text that IRAF spreads over keywords WAT2_nnn."""
    cards = [f"WAT2_{number:03d}" for number in range(1, 1000)]
    text = "".join(str(header[card]).ljust(_CARD) for card in cards if card in header)
    return {int(number) - 1: words.split() for number, words in _SPEC.findall(text)}


def _multispec_wavelength(header, dispersions, row, n_pixels, unit):
    """Return the wavelengths of a row in Å (specwcs of IRAF, section "multispec")."""
    if row not in dispersions:
        raise FileFormatError(
            f"Its keywords WAT2_nnn hold no dispersion of row {row + 1}, spec{row + 1};"
            " they may be truncated. Copy the file again."
        )
    try:
        numbers = [float(word) for word in dispersions[row]]
        kind, start, step, size, shift = (numbers[i] for i in (2, 3, 4, 5, 6))
        size = int(size)
    except (IndexError, ValueError, OverflowError) as error:
        raise FileFormatError(_not_understood(row)) from error
    if kind not in (_LINEAR, _LOGARITHMIC, _NONLINEAR):
        raise FileFormatError(
            f"Row {row + 1} has no calibrated wavelengths (type {kind:g}). Calibrate "
            "it with IRAF's dispcor, or build a specutils Spectrum."
        )
    if not 0 < size <= n_pixels or not shift > -1:
        raise FileFormatError(_not_understood(row))
    if kind == _NONLINEAR:
        values = _nonlinear(header, numbers[9:], row, size)
    else:
        values = start + step * np.arange(size)
        if kind == _LOGARITHMIC:
            with np.errstate(over="ignore"):
                values = 10.0**values
    values = values / (1 + shift)
    unit = unit or _unit_of(header)
    if unit is None:
        check_unstated_unit(values)
        return values
    unit = unit_or_ask(unit, "the wavelengths", "wavelength_unit")
    return values * scale_to_angstrom(unit)


def _nonlinear(header, numbers, row, size):
    """Return the wavelengths of a row with a nonlinear dispersion."""
    # pixels of the image from which this one was cut
    offset, scale = first_number(header, "LTV1"), first_number(header, "LTM1_1")
    pixel = (np.arange(1, size + 1) - (offset or 0.0)) / (scale or 1.0)
    try:
        return nonlinear_wavelength(numbers, pixel)
    except ValueError as error:
        raise FileFormatError(
            f"{_not_understood(row)} What is wrong: {error}. If the file is whole, "
            "make its dispersion linear with IRAF's dispcor."
        ) from error


def _unit_of(header):
    """Return the unit of wavelengths, as IRAF or FITS state it, or None."""
    match = _UNITS.search(str(header.get("WAT1_001", "")))
    return match[1] if match else header.get("CUNIT1")


def _not_understood(row):
    return (
        f"The dispersion of row {row + 1} in the keywords WAT2_nnn cannot be "
        "understood; they may be damaged. Copy the file again."
    )
