"""Spectra of one's own: columns of text, and tables in ECSV and FITS.

It is here since specutils' loaders of these guess columns by their units, which
normalised flux lacks, and drop masks.
"""

import re
import warnings

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._columns import are_spectrum, errors_and_mask, first_of
from sk_payne.spectra._frame import read_frame
from sk_payne.spectra._spectrum_file import (
    agreed_medium,
    as_unit,
    data_of,
    describe_hdus,
    make_spectrum,
)
from sk_payne.spectra._text_columns import header_of, numbers_of, starts_with_numbers

__all__ = [
    "is_ecsv",
    "is_fits_table",
    "is_text",
    "read_ecsv",
    "read_fits_table",
    "read_text",
    "scale_to_angstrom",
]

_COMMENT = re.compile(r"#\s*(\w+)\s*[:=]\s*(.+?)\s*$")
_UNIT_IN_NAME = re.compile(r"[\(\[](.*?)[\)\]]")


# Text ----------------------------------------------------------------------------


def is_text(lines):
    """Tell whether text starts with names, or with two or three columns of numbers."""
    return header_of(lines)[0] is not None or starts_with_numbers(lines)


def read_text(lines, *, medium=None, wavelength_unit=None):
    """Read columns with names, or of wavelength, flux and perhaps error."""
    from astropy import units

    names, is_data = header_of(lines)
    columns = numbers_of(lines, names, is_data)
    comments = [line.strip() for line in lines if line.lstrip().startswith("#")]
    matches = [m for m in map(_COMMENT.match, comments) if m is not None]
    stated = {m[1].lower(): m[2] for m in matches}
    described = {"header": comments} | _described(stated, medium)
    if names is not None:
        return _read_table(
            _table_of(names, columns),
            _unit_of_text(names, wavelength_unit),
            None,
            described,
            stated,
        )
    flux, error = columns[1], columns[2] if len(columns) == 3 else None
    if error is not None:
        _check_error(flux, error)
    return make_spectrum(
        columns[0] * scale_to_angstrom(units.Unit(wavelength_unit or "Angstrom")),
        flux,
        error=error,
        unit=units.dimensionless_unscaled,
        **described,
    )


def _table_of(names, columns):
    from astropy.table import Table

    try:
        return Table(list(columns), names=names)
    except ValueError as error:
        raise FileFormatError(
            f"Its names of columns must differ; they are {', '.join(names)}. Rename "
            "one of the same name."
        ) from error


def _unit_of_text(names, given):
    """Return the unit of wavelengths: the one given, or in its name, or Å."""
    stated = _UNIT_IN_NAME.search(first_of("wavelength", names))
    return given or (stated[1] if stated else "Angstrom")


def _check_error(flux, error):
    """Refuse a third column that cannot be the error of the flux."""
    with warnings.catch_warnings():
        # all may be NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        of_flux, of_error = np.nanmedian(np.abs(flux)), np.nanmedian(error)
    is_mask = np.isin(error, (0, 1)).all() and (error == 0).any()
    if of_error > of_flux or is_mask:
        seen = "holds only 0 and 1" if is_mask else f"has a median of {of_error:.3g}"
        raise FileFormatError(
            "Its third column must be the error (1 sigma) of the flux, in the unit of "
            f"the flux; it {seen}, for a median flux of {of_flux:.3g}. Start the text "
            "with a line of names, such as 'wavelength flux ivar' or 'wavelength flux "
            "mask', or drop the column; write decimals with a point."
        )


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
    return _read_table(table, wavelength_unit, flux_unit, described, table.meta)


def is_fits_table(hdus):
    """Tell whether a FITS file has a table with the columns wavelength and flux."""
    return bool(_table_hdus(hdus))


def read_fits_table(hdus, *, medium=None, wavelength_unit=None, flux_unit=None):
    """Read a table with the columns wavelength, flux, uncertainty and mask."""
    from astropy import units
    from astropy.table import Table

    numbers = _table_hdus(hdus)
    if not numbers:
        raise FileFormatError(
            "It has no table with the columns 'wavelength' (or 'wave') and 'flux', but "
            f"{describe_hdus(hdus)}. Rename the columns."
        )
    number, *others = numbers
    data_of(hdus, number)
    with warnings.catch_warnings():
        # one that cannot be understood is refused below
        warnings.simplefilter("ignore", units.UnitsWarning)
        table = Table.read(hdus[number])
    stated = {
        key.lower(): value
        for header in (hdus[0].header, hdus[number].header)
        for key, value in header.items()
    }
    described = _described(stated, medium)
    unread = [f"table {other} {hdus[other].name}".strip() for other in others]
    return _read_table(table, wavelength_unit, flux_unit, described, stated, unread)


def _table_hdus(hdus):
    """Return the numbers of the tables that hold a spectrum."""
    return [
        number
        for number, hdu in enumerate(hdus)
        if not hdu.is_image and are_spectrum(hdu.columns.names)
    ]


def _read_table(table, wavelength_unit, flux_unit, described, stated, unread=()):
    names = table.colnames
    columns = {role: first_of(role, names) for role in ("wavelength", "flux")}
    for role, name in columns.items():
        if name is None:
            raise FileFormatError(
                f"It has no column {role!r}, but {names}. Rename the column."
            )
    unit = _unit(table, columns["flux"], "flux_unit", flux_unit)
    scale = scale_to_angstrom(
        _unit(table, columns["wavelength"], "wavelength_unit", wavelength_unit)
    )

    def read(name, power):
        own, of_flux = table[name].unit, table[columns["flux"]].unit
        is_plain = power == 0 or own is None or (power == 1 and own == of_flux)
        scale = 1.0 if is_plain else _scale(table, name, unit**power)
        return _numbers(table, name) * scale

    says = {name: table[name].description or stated.get(name.lower()) for name in names}
    found = errors_and_mask(names, read, says)
    found["unread"] = [*found["unread"], *unread]
    return make_spectrum(
        _numbers(table, columns["wavelength"]) * scale,
        _numbers(table, columns["flux"]),
        unit=unit,
        **found,
        **described,
    )


def _numbers(table, name):
    """Return a column, or the array in its only cell, NaN where a cell is empty."""
    try:
        values = np.ma.filled(np.ma.array(table[name], dtype=np.float64), np.nan)
        return values[0] if values.ndim == 2 and len(values) == 1 else values
    except ValueError as error:
        raise FileFormatError(
            f"Its column {name!r} must hold numbers ({error}). Correct the table."
        ) from error


def _unit(table, name, option, given=None):
    """Return the unit of a column, or what is given instead by an option."""
    unit = table[name].unit if given is None else given
    try:
        return as_unit("" if unit is None else str(unit), f"column {name!r}")
    except FileFormatError as error:
        raise FileFormatError(f"{error} Pass {option}=, an astropy unit.") from error


def _scale(table, name, wanted):
    """Return what a column is multiplied by to be in the unit of the flux."""
    from astropy import units

    own = as_unit(str(table[name].unit), f"column {name!r}")
    try:
        return own.to(wanted)
    except units.UnitConversionError as error:
        raise FileFormatError(
            f"Its {name} must have the unit of the flux, {wanted.to_string()!r}; "
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
        "frame": read_frame(stated.get("frame")),
        "name": stated.get("object"),
        "resolving_power": power,
    }
