"""Spectra of one's own: columns of text, and tables in ECSV and FITS.

It is here since specutils' loaders of these guess columns by their units, which
normalised flux lacks, and drop masks.
"""

import re
import warnings

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._spectrum_file import (
    agreed_medium,
    as_unit,
    data_of,
    describe_hdus,
    make_spectrum,
)

__all__ = [
    "ERROR_NAMES",
    "is_ecsv",
    "is_fits_table",
    "is_text",
    "read_ecsv",
    "read_fits_table",
    "read_text",
    "scale_to_angstrom",
]

# What tables may call the wavelength, and the error (1 sigma).
_WAVELENGTH_NAMES = ("wavelength", "wave", "lambda")
ERROR_NAMES = ("uncertainty", "error", "err", "sigma")

_COMMENT = re.compile(r"#\s*(\w+)\s*[:=]\s*(.+?)\s*$")


# Text ----------------------------------------------------------------------------


def is_text(lines):
    """Tell whether text starts with names, or with two or three columns of numbers."""
    data = [line for _, line in _numbered_data(lines)]
    if not data:
        return False
    words = _words(data[0])
    return _are_names(words) or (len(words) in (2, 3) and _are_numbers(words))


def read_text(lines, *, medium=None, wavelength_unit="Angstrom"):
    """Read columns with names, or of wavelength, flux and perhaps error."""
    from astropy import units

    rows = list(_numbered_data(lines))
    names = [word.lower() for word in _words(rows[0][1])] if rows else []
    named = _are_names(names)
    columns = _columns(rows[1:] if named else rows, names if named else None)
    comments = [line.strip() for line in lines if line.lstrip().startswith("#")]
    matches = [m for m in map(_COMMENT.match, comments) if m is not None]
    stated = {m[1].lower(): m[2] for m in matches}
    described = {"header": comments} | _described(stated, medium)
    if named:
        from astropy.table import Table

        table = Table(list(columns), names=names)
        return _read_table(table, wavelength_unit, None, described)
    return make_spectrum(
        columns[0] * scale_to_angstrom(units.Unit(wavelength_unit)),
        columns[1],
        error=columns[2] if len(columns) == 3 else None,
        unit=units.dimensionless_unscaled,
        **described,
    )


def _are_names(words):
    """Whether these are names of columns, flux and wavelength among them."""
    names = {word.lower() for word in words}
    return "flux" in names and not names.isdisjoint(_WAVELENGTH_NAMES)


def _are_numbers(words):
    try:
        return bool([float(word) for word in words])
    except ValueError:
        return False


def _numbered_data(lines):
    """Yield number and content of each line that is neither blank nor a comment."""
    for number, line in enumerate(lines, start=1):
        data = line.partition("#")[0].strip()
        if data:
            yield number, data


def _words(line):
    return line.replace(",", " ").split()


def _columns(numbered, names):
    """Return the columns of numbers, as many as there are names, or two or three."""
    rows = []
    allowed = (2, 3) if names is None else (len(names),)
    for number, line in numbered:
        words = _words(line)
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise FileFormatError(
                f"Line {number} must hold numbers; it is {line[:40]!r}. Mark what is "
                "no data with # at its start."
            ) from error
        if len(words) not in allowed or len(words) != len(rows[0]):
            what = "one number for each name, " + ", ".join(names or ())
            if names is None:
                what = "wavelength, flux and, on all lines or none, the error"
            raise FileFormatError(
                f"Each line must hold {what}; line {number} has {len(words)} columns. "
                "Drop the others, or start with a line of names."
            )
    if not rows:
        raise FileFormatError("It has no line of data, only comments or nothing.")
    return np.array(rows).T


# Tables --------------------------------------------------------------------------


def is_ecsv(lines):
    """Tell whether lines of text are a table in ECSV."""
    return bool(lines) and lines[0].startswith("# %ECSV")


def read_ecsv(lines, *, medium=None, wavelength_unit=None, flux_unit=None):
    """Read a table with the columns wavelength, flux, uncertainty and mask."""
    from astropy.io import ascii

    try:
        table = ascii.read(lines, format="ecsv")
    except (ascii.InconsistentTableError, ValueError) as error:
        raise FileFormatError(f"It is no valid ECSV: {error}") from error
    described = {"header": dict(table.meta)} | _described(table.meta, medium)
    return _read_table(table, wavelength_unit, flux_unit, described)


def is_fits_table(hdus):
    """Tell whether a FITS file has a table with the columns wavelength and flux."""
    return _table_hdu(hdus) is not None


def read_fits_table(hdus, *, medium=None, wavelength_unit=None, flux_unit=None):
    """Read a table with the columns wavelength, flux, uncertainty and mask."""
    from astropy import units
    from astropy.table import Table

    number = _table_hdu(hdus)
    if number is None:
        raise FileFormatError(
            "It has no table with the columns 'wavelength' (or 'wave') and 'flux', but "
            f"{describe_hdus(hdus)}. Rename the columns."
        )
    data_of(hdus, number)
    with warnings.catch_warnings():
        # one that cannot be understood is refused below
        warnings.simplefilter("ignore", units.UnitsWarning)
        table = Table.read(hdus[number])
    # capital letters mean nothing in FITS
    table.rename_columns(table.colnames, [name.lower() for name in table.colnames])
    stated = {
        key.lower(): value
        for header in (hdus[0].header, hdus[number].header)
        for key, value in header.items()
    }
    return _read_table(table, wavelength_unit, flux_unit, _described(stated, medium))


def _table_hdu(hdus):
    """Return the number of the first table of one pixel per row."""
    for number, hdu in enumerate(hdus):
        if not hdu.is_image:
            names = {name.lower() for name in hdu.columns.names}
            if _are_names(names):
                return number
    return None


def _read_table(table, wavelength_unit, flux_unit, described):
    wavelength_name = _found(_WAVELENGTH_NAMES, table)
    for name, found in (("wavelength", wavelength_name), ("flux", "flux")):
        if found not in table.colnames:
            raise FileFormatError(
                f"It has no column {name!r}, but {table.colnames}. Rename the column."
            )
    error_name = _found(ERROR_NAMES, table)
    unit = _unit(table, "flux", flux_unit)
    wavelength_unit = _unit(table, wavelength_name, wavelength_unit)
    return make_spectrum(
        _numbers(table, wavelength_name) * scale_to_angstrom(wavelength_unit),
        _numbers(table, "flux"),
        error=None if error_name is None else _error(table, error_name, unit),
        bad=_numbers(table, "mask") if "mask" in table.colnames else None,
        unit=unit,
        **described,
    )


def _found(names, table):
    return next((name for name in names if name in table.colnames), None)


def _numbers(table, name):
    """Return a column, or the array in its only cell, NaN where a cell is empty."""
    try:
        values = np.ma.filled(np.ma.array(table[name], dtype=np.float64), np.nan)
        return values[0] if values.ndim == 2 and len(values) == 1 else values
    except ValueError as error:
        raise FileFormatError(
            f"Its column {name!r} must hold numbers ({error}). Correct the table."
        ) from error


def _unit(table, name, given=None):
    """Return the unit of a column, or what is given instead."""
    unit = table[name].unit if given is None else given
    try:
        return as_unit("" if unit is None else str(unit), f"column {name!r}")
    except FileFormatError as error:
        option = "wavelength_unit" if name in _WAVELENGTH_NAMES else f"{name}_unit"
        raise FileFormatError(f"{error} Pass {option}=, an astropy unit.") from error


def _error(table, name, unit):
    from astropy import units

    same = table[name].unit in (None, table["flux"].unit)
    own = unit if same else _unit(table, name)
    try:
        return _numbers(table, name) * own.to(unit)
    except units.UnitConversionError as error:
        raise FileFormatError(
            f"Its {name} must have the unit of the flux, {unit.to_string()!r}; "
            f"it has {own.to_string()!r}. Correct the table."
        ) from error


# Both ----------------------------------------------------------------------------


def scale_to_angstrom(unit):
    """Return what a wavelength is multiplied by to be in Å."""
    from astropy import units

    try:
        return unit.to(units.AA)
    except units.UnitConversionError as error:
        raise FileFormatError(
            f"Its wavelengths must have a unit of length; they have {str(unit)!r}. "
            "Give the column its unit, or pass wavelength_unit=."
        ) from error


def _described(stated, medium):
    """Return the arguments of make_spectrum that the comments of a file give."""
    power = stated.get("resolving_power")
    try:
        power = None if power is None else float(power)
    except (TypeError, ValueError) as error:
        raise FileFormatError(
            f"It states the resolving power {power!r}, which is no number. Correct it."
        ) from error
    return {
        "medium": agreed_medium(stated.get("medium"), medium),
        "frame": stated.get("frame"),
        "name": stated.get("object"),
        "resolving_power": power,
    }
