"""Tables of flux: one row per spectrum, with mask and unit."""

from dataclasses import dataclass

import numpy as np

from sk_payne.inputs._numbers import take_apart
from sk_payne.inputs._units import convert, unit_name

__all__ = ["FluxTable", "read_flux"]


@dataclass(frozen=True)
class FluxTable:
    """Flux of n spectra.

    Parameters
    ----------
    values : ndarray of shape (n, n_pixels), float32 or float64, C-contiguous
        The input untouched, if it is not a table of real numbers.
    mask : ndarray of shape (n, n_pixels), bool, or None
        True for masked pixels; None if none is. NaN is not masked.
    unit : str or None
        Unit as astropy reads it, "" if dimensionless; None for plain arrays.

    Examples
    --------
    >>> from sk_payne.inputs import FluxTable
    >>> FluxTable([[0.9, 1.0]]).mask is None
    True
    """

    values: np.ndarray
    mask: np.ndarray | None = None
    unit: str | None = None


def read_flux(values, *, argument="y", unit=None):
    """Read flux with its mask, in one unit.

    Parameters
    ----------
    values : array-like of shape (n, n_pixels)
        Plain array, Quantity, masked array, DataFrame, DataArray or list.
    argument : str, default="y"
        Name for errors.
    unit : str, default=None
        Unit of the result. If None, flux keeps its own, but percent and other fractions
        become plain numbers.

    Returns
    -------
    table : FluxTable
        float32 and float64 arrays are passed on, not copied. Anything but a 2-D table
        of real numbers is passed on untouched, for the validation of scikit-learn.

    Raises
    ------
    ValueError
        If the unit does not convert.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from sk_payne.inputs import read_flux
    >>> read_flux([[99, 98]] * u.percent)
    FluxTable(values=array([[0.99, 0.98]]), mask=None, unit='')
    >>> read_flux(np.ma.array([[1.0, 2.0]], mask=[[False, True]])).mask
    array([[False,  True]])
    """
    if isinstance(values, np.matrix):  # which scikit-learn refuses
        return FluxTable(values)
    parts = take_apart(values)
    numbers = parts.numbers
    if numbers is None or numbers.ndim != 2:
        return FluxTable(values)
    if parts.unit is None:
        return FluxTable(numbers, parts.mask, unit)
    if unit is None:
        unit = unit_name(parts.unit)
        if _is_fraction(parts.unit):
            unit = ""
    converted = convert(numbers, parts.unit, unit, name=f"`{argument}`")
    return FluxTable(converted.astype(numbers.dtype, copy=False), parts.mask, unit)


def _is_fraction(unit):
    from astropy import units as u

    unit = u.Unit(unit, parse_strict="silent")
    return unit.is_equivalent(u.dimensionless_unscaled)
