"""Spectra of ESPaDOnS and NARVAL that Libre-ESpRIT reduced.

They are text files named `.s`, or the images `i.fits` and `p.fits` of the archive CADC.
Orders follow each other and overlap, so wavelengths decrease where an order begins.
"""

import itertools
import re

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._header_statements import star_of
from sk_payne.spectra._spectrum_file import image_of, make_spectrum
from sk_payne.spectra._text_columns import numbers_of

__all__ = [
    "is_espadons",
    "is_libre_esprit",
    "read_espadons",
    "read_libre_esprit",
]

_TITLE = re.compile(r"\*+\s*Reduced spectrum of\s*'?(.*?)'?\s*$", re.IGNORECASE)
_SIZE = re.compile(r"\s*(\d+)\s+(\d+)\s*$")
_ANGSTROM_PER_NM = 10.0
# ESPaDOnS has 40 orders.
_MOST_ORDERS = 200
# Columns beside the wavelength: intensity, perhaps V, N1, N2, and the error.
_COLUMNS = {1: None, 2: 2, 5: 5}


def is_libre_esprit(lines):
    """Return whether text starts with the title and the size of such a file."""
    return len(lines) > 2 and bool(_TITLE.match(lines[0]) and _SIZE.match(lines[1]))


def read_libre_esprit(lines):
    """Read each order of the intensity as an arm: in air, heliocentric."""
    if not is_libre_esprit(lines):
        raise FileFormatError(
            "Its first line must be \"***Reduced spectrum of 'star'\", and its second "
            "the numbers of rows and columns. Check that the file is complete and of "
            "this format."
        )
    n_rows, n_columns = map(int, _SIZE.match(lines[1]).groups())
    if n_columns not in _COLUMNS:
        raise FileFormatError(
            f"It states {n_columns} columns beside the wavelength, which must be 1 "
            "(intensity), 2 (and error) or 5 (intensity, Stokes parameter, two null "
            "spectra, error). Check that the file is complete and of this format."
        )
    names = ["wavelength", *(f"column {i + 1}" for i in range(n_columns))]
    columns = numbers_of(lines[2:], names, False)
    if columns.shape[1] != n_rows:
        raise FileFormatError(
            f"It states {n_rows} rows, and has {columns.shape[1]}. Copy the file again."
        )
    number = _COLUMNS[n_columns]
    name = _TITLE.match(lines[0])[1].strip() or "star"
    error = None if number is None else columns[number]
    return _orders(*columns[:2], error, name=name, header=lines[:2])


# FITS ----------------------------------------------------------------------------

# Rows of an image: four blocks of wavelength, intensity, and error; with polarisation,
# a Stokes parameter and two null spectra come before the error. The first block is
# normalised, the last is not. Wavelengths of the first are corrected by telluric lines.
_N_BLOCKS, _BLOCK_SIZES = 4, (3, 6)


def is_espadons(hdus):
    """Return whether a FITS file is of ESPaDOnS, with spectra in rows of an image."""
    hdu = hdus[0]
    if not hdu.is_image or len(hdu.shape) != 2:
        return False
    n_rows, _ = hdu.shape
    instrument = str(hdu.header.get("INSTRUME", "")).upper()
    return instrument.startswith("ESPADONS") and n_rows in _numbers_of_rows()


def read_espadons(hdus, *, normalized=True):
    """Read each order of the intensity as an arm: in air, heliocentric."""
    if not isinstance(normalized, bool | np.bool_):
        raise ValueError(f"`normalized` must be True or False; got {normalized!r}.")
    image = image_of(hdus, 0, n_dimensions=(2,))
    if len(image) not in _numbers_of_rows():
        raise FileFormatError(
            f"HDU 0 must have 12 rows (i.fits) or 24 (p.fits), and has {len(image)}. "
            "Check that the file is complete and of this format."
        )
    size = len(image) // _N_BLOCKS
    block = image[:size] if normalized else image[-size:]
    return _orders(
        image[0], block[1], block[-1], name=star_of(hdus[0].header) or "star"
    )


def _numbers_of_rows():
    return [_N_BLOCKS * size for size in _BLOCK_SIZES]


# Both ----------------------------------------------------------------------------


def _orders(wavelength, flux, error, *, name, **meta):
    """Cut a spectrum where its wavelengths (nm) decrease, into a list of orders."""
    from astropy import units
    from specutils import SpectrumList

    starts = np.flatnonzero(~(np.diff(wavelength) > 0)) + 1
    ends = [0, *starts, len(wavelength)]
    if len(starts) > _MOST_ORDERS:
        raise FileFormatError(
            f"Its wavelengths decrease {len(starts)} times, which are too many for "
            f"orders: {_MOST_ORDERS} at most. Copy the file again."
        )
    return SpectrumList(
        [
            make_spectrum(
                wavelength[start:end] * _ANGSTROM_PER_NM,
                flux[start:end],
                error=None if error is None else error[start:end],
                unit=units.dimensionless_unscaled,
                medium="air",
                frame="heliocentric",
                name=name,
                arm=number,
                **meta,
            )
            for number, (start, end) in enumerate(itertools.pairwise(ends))
        ]
    )
