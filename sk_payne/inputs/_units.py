"""Conversion of numbers from the unit that they have to the one that is wanted.

astropy is imported only when a unit is met: plain arrays do not wait for it.
"""

__all__ = ["convert", "unit_name"]


def unit_name(unit):
    """Name of a unit as a string that astropy reads.

    Parameters
    ----------
    unit : astropy Unit, str or None
        The unit.

    Returns
    -------
    name : str
        Empty without a unit, and for a dimensionless one.

    Examples
    --------
    >>> from astropy import units as u
    >>> from sk_payne.inputs._units import unit_name
    >>> unit_name(u.dex(u.cm / u.s**2)), unit_name(u.one), unit_name(None)
    ('dex(cm / s2)', '', '')
    """
    return "" if unit is None else _parse(unit).to_string()


def convert(numbers, unit, wanted, *, what, is_difference=False):
    """Numbers in another unit.

    Parameters
    ----------
    numbers : ndarray
        The numbers.
    unit : astropy Unit, str or None
        Their unit; None for plain numbers, which are in the wanted unit already.
    wanted : str
        Unit to convert to. "" accepts numbers without dimension, and dex.
    what : str
        Name of the numbers, for errors.
    is_difference : bool, default=False
        Whether they are differences, such as errors: those of dex(cm / s2) are in dex.

    Returns
    -------
    numbers : ndarray
        The same array if there is nothing to do.

    Raises
    ------
    ValueError
        If the unit does not convert.

    Notes
    -----
    Numbers in dex and in dex(cm / s2), the usual unit of log g, count as the same.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.inputs._units import convert
    >>> convert(np.array([5.0]), "kK", "K", what="teff")
    array([5000.])
    >>> convert(np.array([2.4]), "dex(m / s2)", "dex(cm / s2)", what="logg")
    array([4.4])
    """
    if unit is None:
        return numbers
    from astropy import units as u

    source, target = _parse(unit), _parse(wanted)
    if is_difference:
        source, target = _of_differences(source), _of_differences(target)
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
        raise ValueError(_refusal(what, source, target)) from error


def _parse(unit):
    from astropy import units as u

    return u.Unit(unit, parse_strict="silent")


def _of_differences(unit):
    """Return the unit of a difference of numbers: dex for dex(cm / s2)."""
    return getattr(unit, "function_unit", unit)


def _is_usual_dex(unit):
    """Whether a unit is dex, of a ratio or of log g in cm/s2."""
    from astropy import units as u

    usual = (u.dex, u.dex(u.dimensionless_unscaled), u.dex(u.cm / u.s**2))
    return any(unit == one for one in usual)


def _refusal(what, source, target):
    if target.to_string():
        return (
            f"{what} must be in {target} or a unit that converts to it; got {source}. "
            "Pass plain numbers, if they are in that unit."
        )
    return (
        f"{what} must be plain numbers, as no unit is known for it; got {source}. Pass "
        "its value, or, for a label, give `label_units` to the emulator."
    )
