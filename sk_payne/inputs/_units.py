"""Conversion of numbers between units.

astropy is imported only when a unit is met, as plain arrays do not need it.
"""

__all__ = ["convert", "unit_name"]


def unit_name(unit):
    """Return the name of a unit, as astropy reads it.

    Parameters
    ----------
    unit : astropy Unit, str or None
        The unit.

    Returns
    -------
    name : str
        Empty without a unit and for dimensionless numbers.

    Examples
    --------
    >>> from astropy import units as u
    >>> from sk_payne.inputs._units import unit_name
    >>> unit_name(u.dex(u.cm / u.s**2)), unit_name(u.one), unit_name(None)
    ('dex(cm / s2)', '', '')
    """
    return "" if unit is None else _parse(unit).to_string()


def convert(numbers, unit, target, *, name, is_difference=False):
    """Convert numbers to another unit.

    Parameters
    ----------
    numbers : ndarray
        Numbers in `unit`.
    unit : astropy Unit, str or None
        Unit of the numbers; None for plain numbers, which are in `target` already.
    target : str
        Unit to convert to. "" accepts dimensionless numbers and dex.
    name : str
        Name of the numbers, for errors.
    is_difference : bool, default=False
        Whether numbers are differences, such as errors: dex for those of dex(cm / s2).

    Returns
    -------
    numbers : ndarray
        The same array if no conversion is needed.

    Raises
    ------
    ValueError
        If the unit does not convert.

    Notes
    -----
    dex and dex(cm / s2), the usual unit of log g, count as the same unit.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.inputs._units import convert
    >>> convert(np.array([5.0]), "kK", "K", name="teff")
    array([5000.])
    >>> convert(np.array([2.4]), "dex(m / s2)", "dex(cm / s2)", name="logg")
    array([4.4])
    """
    if unit is None:
        return numbers
    from astropy import units as u

    source, target = _parse(unit), _parse(target)
    if is_difference:
        source, target = _difference_unit(source), _difference_unit(target)
    if source == target or (_is_usual_dex(source) and _is_usual_dex(target)):
        return numbers
    dimensionless = u.dimensionless_unscaled
    if _is_usual_dex(source) and target == dimensionless:
        return numbers
    if source == dimensionless and target == u.dex:
        return numbers
    try:
        return source.to(target, numbers)
    except (u.UnitsError, ValueError) as error:
        raise ValueError(_refusal(name, source, target)) from error


def _parse(unit):
    from astropy import units as u

    return u.Unit(unit, parse_strict="silent")


def _difference_unit(unit):
    """Return the unit of a difference of numbers: dex for dex(cm / s2)."""
    return getattr(unit, "function_unit", unit)


def _is_usual_dex(unit):
    """Check whether a unit is dex, of a ratio or of log g in cm/s2."""
    from astropy import units as u

    usual = (u.dex, u.dex(u.dimensionless_unscaled), u.dex(u.cm / u.s**2))
    return any(unit == one for one in usual)


def _refusal(name, source, target):
    if target.to_string():
        return (
            f"{name} must be in {target} or a unit that converts to it; got {source}. "
            "Pass plain numbers, if they are in that unit."
        )
    return (
        f"{name} must be plain numbers, as no unit is known for it; got {source}. Pass "
        "its value, or, for a label, give `label_units` to the emulator."
    )
