"""Spectra of Gaia's radial velocity spectrometer in VOTable.

The archive's DataLink service sends them. Files are untrusted: entities and
streams from elsewhere are refused before parsing.
"""

import io
import re
import warnings

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._gaia import COLUMNS, gaia_spectrum, has_gaia_range

__all__ = ["is_gaia_votable", "read_gaia_votable"]

# A spectrum has 2401 pixels; an element for each cell is longer than any encoding.
_LARGEST = 2**22
_FIELD = re.compile(r"<FIELD\b[^>]*\bname\s*=\s*[\"'](\w+)[\"']")
_OUTSIDE = re.compile(r"<!(?:DOCTYPE|ENTITY)|<STREAM\b[^>]*\bhref\b")


def is_gaia_votable(lines):
    """Return whether text is a VOTable with the columns and the range of Gaia RVS."""
    if not _is_votable(lines):
        return False
    try:
        return has_gaia_range(_columns(lines)[0][0])
    except FileFormatError:  # another VOTable
        return False


def read_gaia_votable(lines):
    """Read the normalised flux, at rest."""
    if not _is_votable(lines):
        raise FileFormatError(
            "It must be a VOTable, XML with the element VOTABLE. Check that the file "
            "is complete and of this format."
        )
    columns, name = _columns(lines)
    return gaia_spectrum(*columns, name=name, header=[])


def _is_votable(lines):
    start = [line.strip() for line in lines[:20] if line.strip()]
    return bool(start) and start[0].startswith("<") and "<VOTABLE" in " ".join(start)


def _columns(lines):
    """Return wavelength, flux and error of the first table, and the star's number."""
    from astropy.io.votable import parse
    from astropy.io.votable.exceptions import VOWarning

    text = "\n".join(lines)
    if len(text) > _LARGEST:
        raise FileFormatError(
            f"It has {len(text)} characters; a mean spectrum of Gaia has at most "
            f"{_LARGEST}. Split the file, one table in each."
        )
    if _OUTSIDE.search(text):
        raise FileFormatError(
            "It has a DOCTYPE, an ENTITY, or a STREAM with href, which are not read, "
            "since they may lead to other files. Write the table without them."
        )
    found = _FIELD.findall(text)
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise FileFormatError(
            f"Its table has no column {missing[0]!r}, but {found[:9]}. Check that the "
            "file is complete and of this format."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VOWarning)
            votable = parse(io.BytesIO(text.encode()), verify="ignore")
            tables = list(votable.iter_tables())
            table = tables[0].to_table()
            columns = [
                np.ma.filled(np.ma.array(table[name], dtype=np.float64), np.nan)
                for name in COLUMNS
            ]
    except Exception as error:  # astropy and expat let many kinds through
        raise FileFormatError(
            f"It is no valid VOTable, or truncated ({error}). Copy the file again."
        ) from error
    if len(tables) > 1:
        raise FileFormatError(
            f"It has {len(tables)} tables; one is read. Write one table to each file."
        )
    if any(column.ndim != 1 for column in columns):
        raise FileFormatError(
            "Its columns must hold a number in each cell. Ask the archive for "
            "data_structure='INDIVIDUAL'."
        )
    number = [one.value for one in tables[0].params if one.name == "source_id"]
    return columns, number[0] if number else None
