"""Arguments by name of a parameter, such as bounds, priors and fixed values."""

from collections.abc import Mapping

from sk_payne.exceptions import did_you_mean
from sk_payne.inputs._columns import are_numbered, open_columns

__all__ = ["read_mapping"]


def read_mapping(values, *, argument, names):
    """Read values by name of a parameter.

    Parameters
    ----------
    values : mapping of str to object, table, or None
        Values by name; the columns of a table.
    argument : str
        Name for errors.
    names : list of str
        Names that are allowed.

    Returns
    -------
    values : dict of str to object
        In the order of `names`; empty for None. Values keep their units and masks, for
        :func:`to_floats`.

    Raises
    ------
    TypeError
        If `values` is neither a mapping nor a table.
    ValueError
        If a name is unknown.

    Examples
    --------
    >>> from sk_payne.inputs import read_mapping
    >>> read_mapping({"teff": 5777}, argument="fixed", names=["teff", "logg"])
    {'teff': 5777}
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping) or hasattr(values, "data_vars"):
        columns = open_columns(values)
        if columns is None or are_numbered(columns.names):
            raise TypeError(
                f"`{argument}` must map names of parameters to values; got "
                f"{type(values).__name__}. Parameters are {list(names)}."
            )
        values = dict(zip(columns.names, columns.values, strict=True))
    for name in values:
        if name not in names:
            raise ValueError(
                f"`{argument}` must name parameters of the fit, {list(names)}; got "
                f"{name!r}.{did_you_mean(name, names)}"
            )
    return {name: values[name] for name in names if name in values}
