"""Named columns of DataFrames, astropy tables, xarray objects and structured arrays."""

import re
from dataclasses import dataclass

import narwhals as nw
import numpy as np

from sk_payne.exceptions import did_you_mean

__all__ = ["Columns", "are_numbered", "find_columns", "is_table", "open_columns"]

# Default names of unnamed columns in various libraries, and their number.
_NUMBERED = re.compile(r"(label_|column_|col|f|x)?(\d+)")


@dataclass(frozen=True)
class Columns:
    """Named columns of a container.

    Attributes
    ----------
    names : list of str
        Names, in the order of the container.
    values : list
        Columns, with their units and masks.
    may_have_more : bool
        Whether further columns are allowed, as in a catalogue.
    """

    names: list
    values: list
    may_have_more: bool


def is_table(values):
    """Check whether a container has named columns.

    Parameters
    ----------
    values : object
        Anything.

    Returns
    -------
    is_table : bool
        True for DataFrames, astropy tables and their rows, structured arrays, Datasets
        and 2-D DataArrays of xarray with names along their last dimension. False if
        the names are only numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.inputs import is_table
    >>> is_table(np.zeros(2, [("teff", float), ("logg", float)]))
    True
    >>> is_table(np.zeros((2, 2)))
    False
    """
    columns = open_columns(values)
    return columns is not None and not are_numbered(columns.names)


def open_columns(values):
    """Read the named columns of a container.

    Parameters
    ----------
    values : object
        Anything.

    Returns
    -------
    columns : Columns or None
        None if the container has no named columns.

    Raises
    ------
    ValueError
        If two columns have the same name.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.inputs._columns import open_columns
    >>> open_columns(np.zeros(2, [("teff", float), ("logg", float)])).names
    ['teff', 'logg']
    """
    if isinstance(values, list | tuple) or type(values) is np.ndarray:
        dtype_names = getattr(getattr(values, "dtype", None), "names", None)
        return None if dtype_names is None else _records(values, dtype_names)
    if hasattr(values, "colnames"):  # a Table, QTable or Row of astropy
        return _records(values, values.colnames)
    if hasattr(values, "data_vars"):  # a Dataset of xarray
        return _records(values, list(values.data_vars))
    if hasattr(values, "coords") and hasattr(values, "dims"):  # a DataArray
        return _labelled(values)
    if getattr(getattr(values, "dtype", None), "names", None):
        return _records(values, values.dtype.names)
    try:
        frame = nw.from_native(values, eager_only=True, pass_through=True)
    except nw.exceptions.DuplicateError as error:
        raise ValueError(
            f"Columns of a DataFrame must have different names; got {error}."
        ) from error
    if not isinstance(frame, nw.DataFrame):
        return None
    return Columns(list(map(str, frame.columns)), list(frame.iter_columns()), False)


def are_numbered(names):
    """Check whether column names are mere numbers, with or without a prefix.

    Parameters
    ----------
    names : list of str
        Column names.

    Returns
    -------
    are_numbered : bool
        True for "0", "1" and so on, and for "label_0", "label_1" and so on in order.

    Examples
    --------
    >>> from sk_payne.inputs._columns import are_numbered
    >>> are_numbered(["label_0", "label_1"]), are_numbered(["label_1", "label_0"])
    (True, False)
    """
    matches = [_NUMBERED.fullmatch(name) for name in names]
    if not all(matches):
        return False
    prefixes = {match[1] for match in matches}
    if prefixes == {None}:
        return True
    numbers = [int(match[2]) for match in matches]
    return len(prefixes) == 1 and numbers == list(range(len(names)))


def find_columns(columns, names, argument):
    """Select columns by name.

    Parameters
    ----------
    columns : Columns
        All columns of a container.
    names : list of str
        Names of the columns to select.
    argument : str
        Name of the container, for errors.

    Returns
    -------
    values : list
        One column for each name.

    Raises
    ------
    ValueError
        If a column is missing, or there are further columns that are not allowed.
    """
    missing = [name for name in names if name not in columns.names]
    if missing:
        raise ValueError(
            f"`{argument}` must have a column for each of {list(names)}; it has no "
            f"{missing[0]!r} among {columns.names}."
            f"{did_you_mean(missing[0], columns.names)} Rename the column, or pass a "
            "plain array with the columns in that order."
        )
    others = [name for name in columns.names if name not in names]
    if others and not columns.may_have_more:
        raise ValueError(
            f"`{argument}` must have no other columns than {list(names)}; got {others} "
            "as well. Leave them out."
        )
    return [columns.values[columns.names.index(name)] for name in names]


def _records(values, names):
    return Columns(list(map(str, names)), [values[name] for name in names], True)


def _labelled(values):
    """Columns of a 2-D DataArray whose last dimension has names."""
    if values.ndim != 2 or values.dims[-1] not in values.coords:
        return None
    names = values.coords[values.dims[-1]].values
    if not all(isinstance(name, str) for name in names.tolist()):
        return None
    if len(set(names.tolist())) != len(names):
        raise ValueError(
            f"Columns of a DataArray must have different names; got {names.tolist()}."
        )
    columns = [values[:, i] for i in range(len(names))]
    return Columns(names.tolist(), columns, False)
