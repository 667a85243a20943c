"""Spectra of one's own: columns of text, and tables in ECSV and FITS.

specutils' loaders of these guess columns by their units, which normalised flux lacks,
and drop masks.
"""

import re
import warnings

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._columns import are_spectrum, errors_and_mask, first_of
from sk_payne.spectra._file_units import as_unit, unit_or_ask
from sk_payne.spectra._header_statements import (
    star_of,
    stated_frame,
    stated_medium,
)
from sk_payne.spectra._padding import find_padding
from sk_payne.spectra._spectrum_file import (
    agreed_medium,
    data_of,
    describe_hdus,
    make_spectrum,
)
from sk_payne.spectra._text_columns import header_of, numbers_of, starts_with_numbers
from sk_payne.spectra._wavelength_units import check_unstated_unit, scale_to_angstrom

__all__ = [
    "is_ecsv",
    "is_fits_table",
    "is_text",
    "read_ecsv",
    "read_fits_table",
    "read_text",
]

_COMMENT = re.compile(r"#\s*(\w+)\s*[:=]\s*(.+?)\s*$")
_UNIT_IN_NAME = re.compile(r"[\(\[](.*?)[\)\]]")


# Text ----------------------------------------------------------------------------


def is_text(lines):
    """Return whether text starts with names, or two or three columns of numbers."""
    return header_of(lines)[0] is not None or starts_with_numbers(lines)


def read_text(lines, *, medium=None, wavelength_unit=None):
    """Read columns with names, or of wavelength, flux and perhaps error."""
    from astropy import units

    names, is_data = header_of(lines)
    unit = wavelength_unit or _unit_in(names)
    columns = numbers_of(lines, names, is_data)
    comments = [line.strip() for line in lines if line.lstrip().startswith("#")]
    matches = [m for m in map(_COMMENT.match, comments) if m is not None]
    stated = {m[1].lower(): m[2] for m in matches}
    described = {"header": comments} | _described(stated, medium)
    if names is not None:
        table = _table_of(names, columns)
        wavelength = _wavelength_of_text(table, unit)
        return _read_table(table, wavelength, None, described, stated)
    flux, error = columns[1], columns[2] if len(columns) == 3 else None
    if error is not None:
        _check_error(flux, error)
    return make_spectrum(
        _in_angstrom(columns[0], unit),
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


def _unit_in(names):
    """Return the unit in the name of the wavelengths, or None."""
    name = None if names is None else first_of("wavelength", names)
    stated = None if name is None else _UNIT_IN_NAME.search(name)
    return None if stated is None else stated[1]


def _wavelength_of_text(table, unit):
    if unit is None and first_of("wavelength", table.colnames) is not None:
        return _in_angstrom(_numbers(table, _column(table, "wavelength")), None)
    return _wavelength(table, unit)


def _in_angstrom(wavelength, unit):
    """Return the wavelengths of text in Å, which is their unit if none is stated."""
    if unit is None:
        check_unstated_unit(wavelength)
        return wavelength
    unit = unit_or_ask(unit, "the wavelengths", "wavelength_unit")
    return wavelength * scale_to_angstrom(unit)


def _check_error(flux, error):
    """Refuse a third column that cannot be the error of the flux."""
    measured = ~find_padding(flux)
    with warnings.catch_warnings():
        # all may be NaN, or padding
        warnings.simplefilter("ignore", RuntimeWarning)
        of_flux, of_error = (
            np.nanmedian(np.abs(flux[measured])),
            np.nanmedian(error[measured]),
        )
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
    """Return whether lines of text are a table in ECSV."""
    return bool(lines) and lines[0].startswith("# %ECSV")


def read_ecsv(lines, *, medium=None, wavelength_unit=None, flux_unit=None):
    """Read a table with the columns wavelength, flux, uncertainty and mask."""
    from astropy.table import Column, Table

    try:
        # a QTable's Quantity columns become columns with a unit
        table = Table.read(lines, format="ascii.ecsv")
        header = dict(table.meta)
    except Exception as error:  # astropy lets many kinds through
        raise FileFormatError(f"It is no valid ECSV: {error}") from error
    # times and coordinates of the sky are no columns of numbers
    others = [name for name in table.colnames if not isinstance(table[name], Column)]
    table.remove_columns(others)
    described = {"header": header} | _described(header, medium)
    wavelength = _wavelength(table, wavelength_unit)
    return _read_table(table, wavelength, flux_unit, described, header)


def is_fits_table(hdus):
    """Return whether a FITS file has a table with the columns wavelength and flux."""
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
    wavelength = _wavelength(table, wavelength_unit)
    return _read_table(table, wavelength, flux_unit, described, stated, unread)


def _table_hdus(hdus):
    """Return the numbers of the tables that hold a spectrum."""
    return [
        number
        for number, hdu in enumerate(hdus)
        if not hdu.is_image and are_spectrum(hdu.columns.names)
    ]


def _read_table(table, wavelength, flux_unit, described, stated, unread=()):
    """Read a table of which `wavelength` gives the wavelengths in Å."""
    names = table.colnames
    flux = _column(table, "flux")
    unit = _unit(table, flux, "flux_unit", flux_unit)

    def read(name, power):
        own, of_flux = table[name].unit, table[flux].unit
        is_plain = power == 0 or own is None or (power == 1 and own == of_flux)
        scale = 1.0 if is_plain else _scale(table, name, unit**power)
        return _numbers(table, name) * scale

    says = {name: table[name].description or stated.get(name.lower()) for name in names}
    found = errors_and_mask(names, read, says)
    found["unread"] = [*found["unread"], *unread]
    return make_spectrum(
        wavelength,
        _numbers(table, flux),
        unit=unit,
        **found,
        **described,
    )


def _column(table, role):
    name = first_of(role, table.colnames)
    if name is None:
        raise FileFormatError(
            f"It has no column {role!r}, but {table.colnames}. Rename the column."
        )
    return name


def _wavelength(table, given):
    """Return the wavelengths in Å, from their column or that of their logarithm."""
    logarithm = first_of("log wavelength", table.colnames)
    if logarithm is not None and first_of("wavelength", table.colnames) is None:
        with np.errstate(over="ignore"):
            wavelength = 10 ** _numbers(table, logarithm)
        check_unstated_unit(wavelength)
        return wavelength
    name = _column(table, "wavelength")
    unit = _unit(table, name, "wavelength_unit", given)
    return _numbers(table, name) * scale_to_angstrom(unit)


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
    return unit_or_ask("" if unit is None else unit, f"column {name!r}", option)


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


def _described(stated, medium):
    """Return the arguments of make_spectrum that the comments of a file give."""
    power = stated.get("resolving_power")
    try:
        power = None if power is None else float(power)
    except (TypeError, ValueError) as error:
        raise FileFormatError(
            f"It states the resolving power {power!r}, which is no number. Correct it."
        ) from error
    words = {str(key).upper(): value for key, value in stated.items()}
    return {
        "medium": agreed_medium(stated_medium(words), medium),
        "frame": stated_frame(words),
        "name": star_of(words),
        "resolving_power": power,
    }
