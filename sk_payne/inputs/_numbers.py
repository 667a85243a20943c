"""Numbers with units and masks: arrays, quantities, masked columns, series, lists."""

from dataclasses import dataclass

import narwhals as nw
import numpy as np

from sk_payne.inputs._units import convert

__all__ = [
    "Parts",
    "as_real",
    "carries_more",
    "list_rows",
    "plain_wavelengths",
    "take_apart",
    "to_float",
    "to_floats",
    "without_unit",
]


@dataclass(frozen=True)
class Parts:
    """Numbers with their mask and unit.

    Attributes
    ----------
    numbers : ndarray of float32 or float64, or None
        In native byte order and C-contiguous; None if the values are not real numbers.
    mask : ndarray of bool or None
        True where a value is masked; None if none is.
    unit : astropy Unit, str or None
        None for plain numbers.
    """

    numbers: np.ndarray | None
    mask: np.ndarray | None = None
    unit: object = None


def take_apart(values):
    """Split an array into numbers, mask and unit.

    Parameters
    ----------
    values : array-like
        Array, Quantity, Column, Series, DataArray, masked array or list.

    Returns
    -------
    parts : Parts
        Arrays that need no conversion are passed on, not copied.

    Examples
    --------
    >>> from astropy import units as u
    >>> from sk_payne.inputs._numbers import take_apart
    >>> parts = take_apart([1, 2] * u.km)
    >>> parts.numbers, parts.unit
    (array([1., 2.]), Unit("km"))
    """
    if carries_more(values):
        return _join([take_apart(value) for value in values])
    unit = getattr(values, "unit", None)
    mask = None
    if hasattr(values, "unmasked"):  # astropy.utils.masked
        mask, values = np.array(values.mask), values.unmasked
    elif isinstance(values, np.ma.MaskedArray):
        mask, values = np.ma.getmaskarray(values), np.ma.getdata(values)
    elif hasattr(values, "coords") and hasattr(values, "dims"):  # xarray
        unit, values = values.attrs.get("units"), values.values
    else:
        values = _native(values)
    if mask is not None and not mask.any():
        mask = None
    if unit is not None:
        values = getattr(values, "value", values)
    return Parts(as_real(values), mask, unit)


def as_real(values):
    """Convert to float32 or float64, or to None if values are not real numbers.

    Parameters
    ----------
    values : array-like
        Without unit or mask.

    Returns
    -------
    numbers : ndarray or None
        In native byte order and C-contiguous; float64 unless the input is float32. Not
        copied if nothing changes.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.inputs._numbers import as_real
    >>> as_real(np.array([1, 2], dtype=">i2")), as_real(["a"])
    (array([1., 2.]), None)
    """
    try:
        array = np.asarray(values)
        if array.dtype == object:
            if array.ndim == 0:
                return None
            texts = (str, bytes)
            if any(isinstance(value, texts) for value in array.flat):
                return None
            array = array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError):
        return None
    if array.dtype.kind not in "biuf":
        return None
    single = array.dtype.newbyteorder("=") == np.float32
    return np.asarray(array, dtype=np.float32 if single else np.float64, order="C")


def to_floats(values, *, argument, unit="", missing=None, is_difference=False):
    """Convert numbers of any shape to a unit.

    Parameters
    ----------
    values : array-like
        Numbers with or without a unit and a mask. Plain numbers are in `unit` already.
    argument : str
        Name for errors, such as "vsini" or "priors['teff']".
    unit : str, default=""
        Unit of the result.
    missing : float, default=None
        Replaces masked values, such as NaN. If None, masked values are an error.
    is_difference : bool, default=False
        Whether values are differences of numbers, such as errors.

    Returns
    -------
    numbers : ndarray, float64
        In `unit`.

    Raises
    ------
    TypeError
        If values are not real numbers.
    ValueError
        If their unit does not convert, or some are masked and `missing` is None.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from sk_payne.inputs import to_floats
    >>> to_floats((4.5 * u.kK, 5500), argument="bounds['teff']", unit="K")
    array([4500., 5500.])
    >>> to_floats(np.ma.array([1, 2], mask=[0, 1]), argument="x", missing=np.nan)
    array([ 1., nan])
    """
    if carries_more(values):
        options = {"unit": unit, "missing": missing, "is_difference": is_difference}
        items = [to_floats(value, argument=argument, **options) for value in values]
        if len({item.shape for item in items}) > 1:
            raise TypeError(f"`{argument}` must be numbers, in rows of one length.")
        return np.array(items)
    parts = take_apart(values)
    if parts.numbers is None:
        raise TypeError(
            f"`{argument}` must be real numbers{f' in {unit}' if unit else ''}; got "
            f"{values!r:.80}."
        )
    numbers = convert(
        np.asarray(parts.numbers, dtype=np.float64),
        parts.unit,
        unit,
        name=f"`{argument}`",
        is_difference=is_difference,
    )
    if parts.mask is None:
        return numbers
    if missing is None:
        raise ValueError(
            f"`{argument}` must have no masked values; {list_rows(parts.mask)} "
            f"{'are' if np.sum(parts.mask) > 1 else 'is'} masked. Fill them or leave "
            "them out."
        )
    return np.where(parts.mask, missing, numbers)


def to_float(value, *, argument, unit=""):
    """Convert one number to a unit.

    Parameters
    ----------
    value : float or Quantity
        Plain numbers are in `unit` already.
    argument : str
        Name for errors.
    unit : str, default=""
        Unit of the result.

    Returns
    -------
    number : float
        In `unit`.

    Raises
    ------
    TypeError
        If the value is not one real number.
    ValueError
        If the unit does not convert, or the number is masked.

    Examples
    --------
    >>> from astropy import units as u
    >>> from sk_payne.inputs import to_float
    >>> to_float(2000 * u.m / u.s, argument="vsini", unit="km/s")
    2.0
    """
    numbers = to_floats(value, argument=argument, unit=unit)
    if numbers.ndim:
        raise TypeError(
            f"`{argument}` must be one number; got an array of shape {numbers.shape}."
        )
    return float(numbers)


def carries_more(values):
    """Check whether items of a list have units or masks, at any depth.

    Parameters
    ----------
    values : object
        A list, tuple or array of objects, such as a mean and an error.

    Returns
    -------
    carries_more : bool
        True if any item has a unit or a mask; False if `values` is not a list.

    Examples
    --------
    >>> from astropy import units as u
    >>> from sk_payne.inputs._numbers import carries_more
    >>> carries_more([1, 2]), carries_more([[1, 2], [3, 4 * u.K]])
    (False, True)
    """
    if not isinstance(values, list | tuple):
        if type(values) is not np.ndarray or values.dtype != object:
            return False
        values = values.ravel()
    return any(
        hasattr(value, "unit") or hasattr(value, "mask") or carries_more(value)
        for value in values
    )


def without_unit(value, *, argument, unit=""):
    """Convert numbers that have a unit or a mask; return anything else untouched.

    For arguments that may also be a word or None, and are checked later.

    Parameters
    ----------
    value : object
        Value of an argument.
    argument : str
        Name for errors.
    unit : str, default=""
        Unit of the result.

    Returns
    -------
    value : object
        Plain numbers in `unit`. Tuples and lists keep their type.

    Raises
    ------
    ValueError
        If the unit does not convert, or a number is masked.

    Examples
    --------
    >>> from astropy import units as u
    >>> from sk_payne.inputs import without_unit
    >>> without_unit((0 * u.m / u.s, 5000 * u.m / u.s), argument="vsini", unit="km/s")
    (0.0, 5.0)
    >>> without_unit("fit", argument="error_floor")
    'fit'
    """
    if not (carries_more(value) or carries_more([value])):
        return value
    numbers = to_floats(value, argument=argument, unit=unit)
    if isinstance(value, tuple):
        return tuple(numbers.tolist())
    is_plain = numbers.ndim == 0 or isinstance(value, list)
    return numbers.tolist() if is_plain else numbers


def plain_wavelengths(wavelength):
    """Copy wavelengths in Å; refuse quantities, whose unit a model does not keep.

    Parameters
    ----------
    wavelength : array-like
        Plain numbers.

    Returns
    -------
    wavelength : ndarray, float64
        A copy.

    Raises
    ------
    TypeError
        If the wavelengths have a unit.

    Examples
    --------
    >>> from sk_payne.inputs import plain_wavelengths
    >>> plain_wavelengths([4500, 4501])
    array([4500., 4501.])
    """
    if hasattr(wavelength, "unit"):
        raise TypeError(
            "`wavelength` must be plain numbers in Å, got a quantity in "
            f"{wavelength.unit}; pass wavelength.to_value('angstrom')."
        )
    return np.array(wavelength, dtype=np.float64)


def list_rows(mask):
    """Name the rows of an array where a mask is True, for messages.

    Parameters
    ----------
    mask : ndarray of bool
        True for values to report.

    Returns
    -------
    rows : str
        For example "rows 3, 7 and 2 others"; "the value" for a single number.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.inputs import list_rows
    >>> list_rows(np.array([False, True])), list_rows(np.ones(7, bool))
    ('row 1', 'rows 0, 1, 2, 3, 4 and 2 others')
    """
    mask = np.asarray(mask)
    if mask.ndim == 0:
        return "the value"
    rows = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
    shown = ", ".join(map(str, rows[:5]))
    others = f" and {len(rows) - 5} others" if len(rows) > 5 else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{others}"


def _native(values):
    """Convert a Series or DataFrame to an array, with NaN for missing values."""
    if isinstance(values, np.ndarray | list | tuple):
        return values
    frame = nw.from_native(
        values, eager_only=True, allow_series=True, pass_through=True
    )
    is_known = isinstance(frame, nw.Series | nw.DataFrame)
    return frame.to_numpy() if is_known else values


def _join(items):
    """Join the parts of items of a list, in the first unit that any of them has."""
    unit = next((item.unit for item in items if item.unit is not None), None)
    shapes = {np.shape(item.numbers) for item in items}
    if any(item.numbers is None for item in items) or len(shapes) > 1:
        return Parts(None, None, unit)
    target = "" if unit is None else unit
    numbers = [
        convert(item.numbers, item.unit, target, name="Items of a list")
        for item in items
    ]
    masks = [
        np.zeros(np.shape(item.numbers), bool) if item.mask is None else item.mask
        for item in items
    ]
    mask = np.array(masks)
    return Parts(as_real(numbers), mask if mask.any() else None, unit)
