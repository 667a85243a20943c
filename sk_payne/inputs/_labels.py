"""Tables of labels: stellar parameters by name, in the units of the emulator."""

from dataclasses import dataclass

import numpy as np

from sk_payne.inputs._columns import are_numbered, find_columns, open_columns
from sk_payne.inputs._numbers import Parts, carries_more, list_rows, take_apart
from sk_payne.inputs._units import convert, unit_name

__all__ = ["LabelTable", "read_labels"]


@dataclass(frozen=True)
class LabelTable:
    """Labels of n spectra.

    Parameters
    ----------
    values : ndarray of shape (n, n_labels), float32 or float64, C-contiguous
        The input untouched, if it is not a table of real numbers.
    names : list of str or None
        Column names; None if there are none.
    units : list of str or None
        Units of the columns as astropy reads them, "" without; None if none has one.

    Examples
    --------
    >>> from sk_payne.inputs import LabelTable
    >>> LabelTable([[5772.0]], ["teff"], ["K"]).names
    ['teff']
    """

    values: np.ndarray
    names: list | None = None
    units: list | None = None


def read_labels(values, *, argument="X", names=None, units=None):
    """Read labels, in a given order and given units.

    Parameters
    ----------
    values : array-like or table of shape (n, n_labels)
        Plain array, Quantity, masked array, list, DataFrame, Table, QTable, Row,
        DataArray, Dataset or structured array. An array with a unit or a mask may have
        the shape (n,), for one label.
    argument : str, default="X"
        Name for errors.
    names : list of str, default=None
        Labels of the result: columns of a container are selected by name, those of a
        plain array by position. If None, all columns are read.
    units : list of str, default=None
        Units of the result, one for each label; "" where unknown. If None, values keep
        their units, which the result names.

    Returns
    -------
    table : LabelTable
        float32 and float64 arrays are passed on, not copied. Anything but a 2-D table
        of real numbers is passed on untouched, for the validation of scikit-learn.

    Raises
    ------
    ValueError
        If a column is missing or not numeric, a DataFrame has further columns, a unit
        does not convert, or a value is masked.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> from astropy import units as u
    >>> from sk_payne.inputs import read_labels
    >>> stars = QTable({"name": ["Sun"], "logg": [4.44], "teff": [5.772] * u.kK})
    >>> read_labels(stars, names=["teff", "logg"], units=["K", "dex"]).values
    array([[5.772e+03, 4.440e+00]])
    """
    if units is not None:
        units = list(units)
    columns, is_flat = open_columns(values), False
    if columns is None:
        titles, names, parts = names, None, _unnamed_columns(values)
        if parts is None:
            return LabelTable(values)
        if isinstance(parts, np.ndarray):
            return LabelTable(parts, None, units)
        is_flat = isinstance(parts, Parts)
        parts = [parts] if is_flat else parts
    elif _goes_by_position(columns.names, names):
        parts = list(map(take_apart, columns.values))
        titles, names = columns.names, columns.names
        if are_numbered(names):
            names = None
    else:
        titles = names = columns.names if names is None else list(names)
        parts = list(map(take_apart, find_columns(columns, names, argument)))
    if titles is None or len(titles) != len(parts):
        titles = list(range(len(parts)))
    if units is None or len(units) != len(parts):
        units = [unit_name(part.unit) for part in parts]
    columns = [
        _read_column(part, unit, f"column {title!r} of `{argument}`")
        for part, unit, title in zip(parts, units, titles, strict=True)
    ]
    has_units = any(units) or any(part.unit is not None for part in parts)
    numbers = columns[0] if is_flat else _stack(columns, argument)
    return LabelTable(numbers, names, units if has_units else None)


def _goes_by_position(titles, names):
    """Check whether the titles of columns, or the names of labels, are mere numbers."""
    if are_numbered(titles):
        return names is None or not set(names) <= set(titles)
    return names is not None and are_numbered(names) and not set(names) <= set(titles)


def _unnamed_columns(values):
    """Split a table into its columns.

    Returns a list of Parts; one Parts for 1-D values with a unit or a mask; an ndarray
    for a plain 2-D array; None for anything else.
    """
    if isinstance(values, np.matrix):  # which scikit-learn refuses
        return None
    if carries_more(values) and all(map(_is_row, values)):
        return [take_apart(list(column)) for column in zip(*values, strict=True)]
    parts = take_apart(values)
    is_plain = parts.unit is None and parts.mask is None
    if parts.numbers is None or parts.numbers.ndim not in (
        (2,) if is_plain else (1, 2)
    ):
        return None
    if is_plain:
        return parts.numbers
    if parts.numbers.ndim == 1:
        return parts
    masks = [None] * parts.numbers.shape[1] if parts.mask is None else parts.mask.T
    columns = zip(parts.numbers.T, masks, strict=True)
    return [Parts(numbers, mask, parts.unit) for numbers, mask in columns]


def _is_row(values):
    return isinstance(values, list | tuple) or getattr(values, "ndim", 0) == 1


def _read_column(part, unit, name):
    if part.numbers is None or part.numbers.ndim > 1:
        raise ValueError(
            f"The {name} must be one real number for each spectrum. Leave the column "
            "out, or pass `label_names` to choose the columns."
        )
    if part.mask is not None and part.mask.any():
        raise ValueError(
            f"The {name} must have no masked values; {list_rows(part.mask)} masked. "
            "Leave these spectra out."
        )
    numbers = np.atleast_1d(part.numbers)
    converted = convert(numbers, part.unit, unit, name=f"The {name}")
    return converted.astype(numbers.dtype, copy=False)


def _stack(columns, argument):
    if len({len(column) for column in columns}) > 1:
        raise ValueError(
            f"`{argument}` must have columns of one length; got "
            f"{[len(column) for column in columns]}."
        )
    single = all(column.dtype == np.float32 for column in columns)
    dtype = np.float32 if single else np.float64
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype=dtype)
