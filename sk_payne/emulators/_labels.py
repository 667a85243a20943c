"""Names and units of the labels.

They are here so that columns of P are never told apart by position alone.
"""

from collections.abc import Mapping

from sk_payne.exceptions import did_you_mean

__all__ = ["resolve_label_names", "resolve_label_units"]


def resolve_label_names(label_names, columns, n_labels):
    """Names of the labels from the argument, the DataFrame, or numbers.

    Parameters
    ----------
    label_names : sequence of str or None
        As given by the user.
    columns : sequence of str or None
        Of the DataFrame.
    n_labels : int
        Columns of P.

    Returns
    -------
    names : list of str
        Of length `n_labels`.

    Raises
    ------
    ValueError
        If their number is wrong, one appears twice, or they contradict the columns.

    Examples
    --------
    >>> from sk_payne.emulators._labels import resolve_label_names
    >>> resolve_label_names(None, None, 2)
    ['label_0', 'label_1']
    """
    if label_names is None:
        if columns is not None:
            return [str(name) for name in columns]
        return [f"label_{i}" for i in range(n_labels)]
    names = [str(name) for name in label_names]
    if len(names) != n_labels or len(set(names)) != n_labels:
        raise ValueError(
            f"`label_names` must be {n_labels} different names, one for each column of "
            f"P; got {names}."
        )
    if columns is not None and names != [str(name) for name in columns]:
        raise ValueError(
            f"`label_names` must be those of the DataFrame, {list(columns)}; got "
            f"{names}. Leave them out, or reorder the columns."
        )
    return names


def resolve_label_units(label_units, label_names):
    """Units of the labels, as strings that astropy reads.

    Parameters
    ----------
    label_units : sequence of str, mapping of name to str, or None
        As given by the user.
    label_names : list of str
        Of the labels.

    Returns
    -------
    units : list of str
        "" where nothing was said.

    Raises
    ------
    ValueError
        If their number is wrong or a name is unknown.

    Examples
    --------
    >>> from sk_payne.emulators._labels import resolve_label_units
    >>> resolve_label_units({"teff": "K"}, ["teff", "Fe_H"])
    ['K', '']
    """
    if label_units is None:
        return [""] * len(label_names)
    if isinstance(label_units, Mapping):
        for name in label_units:
            if name not in label_names:
                raise ValueError(
                    f"`label_units` names {name!r}, but the labels are {label_names}."
                    f"{did_you_mean(name, label_names)}"
                )
        return [str(label_units.get(name, "")) for name in label_names]
    if isinstance(label_units, str) or len(label_units) != len(label_names):
        raise ValueError(
            f"`label_units` must be one unit for each of {label_names}, or a dict; got "
            f"{label_units!r}."
        )
    return [str(unit) for unit in label_units]
