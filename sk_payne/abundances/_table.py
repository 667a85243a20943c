"""Tables of results, with units and descriptions of the flags."""

import numpy as np

from sk_payne.abundances._flags import FLAGS, describe_labels
from sk_payne.exceptions import did_you_mean

__all__ = ["make_limits_table", "make_table", "stack"]


def make_table(
    results, parameters, *, combinations=None, with_second=False, frame=None
):
    """Make an astropy table of results.

    Parameters
    ----------
    results : Measurements
        Results of n stars.
    parameters : Parameters
        Parameters of the results.
    combinations : mapping of str to mapping of str to float, default=None
        Names of further columns, and factors of the parameters of each sum.
    with_second : bool, default=False
        True to include the columns of the search for second stars.
    frame : ndarray of str, shape (n,), default=None
        Rest frames of the velocities, "" where unknown.

    Returns
    -------
    table : astropy.table.QTable
        One row per star, see :meth:`AbundanceRegressor.measure`.

    Raises
    ------
    ValueError
        If two columns have the same name, or a combination has several units.
    """
    from astropy import units as u
    from astropy.table import QTable

    table, errors = QTable(), results.all_errors
    columns = {
        p.name: (results.parameters[:, i], errors[:, i], p.unit)
        for i, p in enumerate(parameters)
    }
    for name, factors in (combinations or {}).items():
        if name in columns:
            raise ValueError(
                f"`combinations` must have names of their own; {name!r} is a parameter."
            )
        columns[name] = _combine(results, parameters, name, factors)
    for name, (values, error, unit) in columns.items():
        _add(table, name, values * u.Unit(unit))
        _add(table, f"{name}_error", error * u.Unit(unit))
        if results.interval is not None and name in parameters:
            low, high = results.interval[:, parameters.index(name)].T
            _add(table, f"{name}_p16", low * u.Unit(unit))
            _add(table, f"{name}_p84", high * u.Unit(unit))
    names = ["chi2", "dof", "n_pixels", "n_clipped", "n_segments", "error_floor"]
    names += ["correlated_error", "error_length"]
    names += ["residual_p", "error_dof", "n_iterations", "expected_fall"]
    names += ["n_effective"] * (results.n_effective is not None)
    names += ["n_stars", "delta_chi2", "delta_bic"] * with_second
    for name in [*names, "converged", "flags"]:
        values = getattr(results, name)
        _add(table, name, values * u.km / u.s if name == "error_length" else values)
    table["flags"].description = " | ".join(
        f"{bit} {name}: {meaning}" for name, (bit, meaning) in FLAGS.items()
    )
    described = describe_labels(results, parameters)
    _add(table, "label_flags", np.array(described, dtype=str))
    if results.from_profile is not None:
        names = np.array(parameters.names, dtype=object)
        chosen = [" ".join(names[row]) for row in results.from_profile]
        _add(table, "profile_intervals", np.array(chosen, dtype=str))
    if frame is not None and (frame != "").any():
        _add(table, "frame", frame)
    return table


def stack(tables):
    """Concatenate tables of stars, some of them without the column `frame`.

    Parameters
    ----------
    tables : list of astropy.table.QTable
        One or more tables.

    Returns
    -------
    table : astropy.table.QTable
        Rows of all tables, with the frame "" where unknown.
    """
    from astropy.table import vstack

    if any("frame" in table.colnames for table in tables):
        tables = [table.copy(copy_data=False) for table in tables]
        for table in tables:
            if "frame" not in table.colnames:
                table["frame"] = np.full(len(table), "")
    return vstack(tables, metadata_conflicts="silent")


def make_limits_table(limits, names, parameters, side):
    """Make an astropy table of limits.

    Parameters
    ----------
    limits : ndarray of shape (n, n_names)
        Limits of n stars.
    names : list of str
        Names of the parameters.
    parameters : Parameters
        All parameters.
    side : str
        Suffix of the names of the columns, "upper" or "lower".

    Returns
    -------
    table : astropy.table.QTable
        One row per star.
    """
    from astropy import units as u
    from astropy.table import QTable

    units = [parameters.every[parameters.index(name)].unit for name in names]
    return QTable(
        {
            f"{name}_{side}": limits[:, i] * u.Unit(unit)
            for i, (name, unit) in enumerate(zip(names, units, strict=True))
        }
    )


def _add(table, name, values):
    """Add a column with a new name."""
    if name in table.colnames:
        raise ValueError(
            f"Each column of the table must have a name of its own; {name!r} is there "
            "twice. Rename that label, parameter or combination."
        )
    table[name] = values


def _combine(results, parameters, name, factors):
    """Compute values, errors and unit of a sum of parameters."""
    names = parameters.names
    for part in factors:
        if part not in names:
            raise ValueError(
                f"`combinations` may sum up {names}; got {part!r} for {name!r}."
                f"{did_you_mean(part, names)}"
            )
    units = {parameters.every[parameters.index(part)].unit for part in factors}
    if len(units) != 1:
        raise ValueError(
            "`combinations` must sum up parameters of one unit; got "
            f"{sorted(map(str, units))} for {name!r}."
        )
    weights = np.array([factors.get(part, 0.0) for part in names])
    used = np.flatnonzero(weights)
    # term by term, since rounding of matrix products may depend on other stars
    values = sum(weights[i] * results.parameters[:, i] for i in used)
    variance = sum(
        weights[i] * weights[j] * results.covariance[:, i, j]
        for i in used
        for j in used
    )
    return values, np.sqrt(variance), units.pop()
