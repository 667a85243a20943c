"""Spectra of ESPaDOnS and NARVAL as Libre-ESpRIT writes them: text files named `.s`.

Their orders follow each other and overlap, so that wavelengths are in no order.
"""

import re

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._spectrum_file import make_spectrum
from sk_payne.spectra._text_columns import numbers_of

__all__ = ["is_libre_esprit", "read_libre_esprit"]

_TITLE = re.compile(r"\*+\s*Reduced spectrum of\s*'?(.*?)'?\s*$", re.IGNORECASE)
_SIZE = re.compile(r"\s*(\d+)\s+(\d+)\s*$")
_ANGSTROM_PER_NM = 10.0
# Columns beside the wavelength: intensity, perhaps V, N1, N2, and the error.
_COLUMNS = {1: None, 2: 2, 5: 5}


def is_libre_esprit(lines):
    """Tell whether text starts with the title and the size of such a file."""
    return len(lines) > 2 and bool(_TITLE.match(lines[0]) and _SIZE.match(lines[1]))


def read_libre_esprit(lines):
    """Read each order of the intensity as an arm: in air, heliocentric."""
    from astropy import units
    from specutils import SpectrumList

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
    starts = np.flatnonzero(np.diff(columns[0]) <= 0) + 1
    orders = np.split(columns, starts, axis=1)
    return SpectrumList(
        [
            make_spectrum(
                order[0] * _ANGSTROM_PER_NM,
                order[1],
                error=None if number is None else order[number],
                unit=units.dimensionless_unscaled,
                medium="air",
                frame="heliocentric",
                name=name,
                arm=number_of_order,
                header=lines[:2],
            )
            for number_of_order, order in enumerate(orders)
        ]
    )
