"""Checks of the arrays of a training grid, for files of any format."""

import warnings

import numpy as np
from sklearn.utils import Bunch

from sk_payne.exceptions import FileFormatError
from sk_payne.inputs import list_rows

__all__ = ["SHORTEST", "as_grid"]

# Stellar photospheres are dark below the Lyman limit; nm and µm are small numbers.
SHORTEST = 900.0
# numpy's fill value of masked arrays.
_FILL_VALUE = 1e20


def as_grid(stored, path, drop_bad):
    """Check the arrays of a file, and put them into a Bunch.

    Parameters
    ----------
    stored : dict of str to ndarray
        Arrays "labels", "flux", "wavelength" and optional others; "unit" is the unit of
        the wavelengths.
    path : Path
        The file, for messages.
    drop_bad : bool
        Whether to leave out rows that are not finite.

    Returns
    -------
    grid : Bunch
        Result of :func:`read_grid`.
    """
    labels, label_names = _label_columns(stored["labels"], path)
    data = _numbers(labels, "labels", 2, path)
    target = _numbers(stored["flux"], "flux", 2, path)
    wavelength = _numbers(stored["wavelength"], "wavelength", 1, path)
    _check_shapes(data, target, wavelength, path)
    wavelength = _in_angstrom(wavelength, stored.get("unit", ""), path)
    stated = _strings(stored.get("label_names"), "label_names", data, path)
    if None not in (label_names, stated) and stated != label_names:
        raise FileFormatError(
            f"'label_names' in {str(path)!r} must be the names of the columns of "
            f"'labels', {label_names}; they are {stated}. Leave them out."
        )
    label_names = label_names or stated
    grid = Bunch(
        data=data.astype(np.float64),
        target=target if target.dtype == np.float32 else target.astype(np.float64),
        wavelength=wavelength,
        label_names=label_names or [f"label_{i + 1}" for i in range(data.shape[1])],
        label_units=_strings(stored.get("label_units"), "label_units", data, path),
        medium=_medium(stored.get("medium"), path),
        resolving_power=_power(stored.get("resolving_power"), path),
        uncertainty=_uncertainty(stored, target.shape, path),
        mask=_mask(stored.get("mask"), target.shape, path),
    )
    return _without_bad_rows(grid, path, drop_bad)


# Rows ----------------------------------------------------------------------------


def _without_bad_rows(grid, path, drop_bad):
    """Refuse rows with labels or flux that are not finite, or leave them out."""
    bad = {"labels": _is_bad(grid.data), "flux": _is_bad(grid.target)}
    rows = np.zeros(len(grid.data), dtype=bool)
    for key, values in bad.items():
        if values.any() and (not drop_bad or values.any(axis=1).all()):
            raise FileFormatError(_bad_message(key, values, grid.wavelength, path))
        rows |= values.any(axis=1)
    if rows.all():
        raise FileFormatError(
            f"{str(path)!r} must have spectra whose labels and flux are finite; it has "
            "none. Repair the grid."
        )
    if not rows.any():
        return grid
    warnings.warn(
        f"{np.count_nonzero(rows)} of the {len(rows)} spectra in {str(path)!r} are "
        f"left out, since labels or flux are not finite: {list_rows(rows)}.",
        UserWarning,
        stacklevel=4,
    )
    for key in ("data", "target", "uncertainty", "mask"):
        if grid[key] is not None:
            grid[key] = grid[key][~rows]
    return grid


def _is_bad(values):
    return ~np.isfinite(values) | (values == _FILL_VALUE)


def _bad_message(key, bad, wavelength, path):
    rows = bad.any(axis=1)
    message = (
        f"{key!r} in {str(path)!r} must be finite; {np.count_nonzero(bad)} of "
        f"{bad.size} values are NaN, infinite or 1e20 (the holes of a masked array), "
        f"in {np.count_nonzero(rows)} of {len(rows)} rows: {list_rows(rows)}. "
    )
    always = bad.all(axis=0)
    if key == "flux" and always.any():
        at = wavelength[always]
        return message + (
            f"All rows are at {len(at)} wavelengths, from {at[0]:g} to {at[-1]:g} Å: "
            "leave out these columns and their wavelengths."
        )
    return message + (
        "Pass drop_bad=True (--drop-bad in the command) to leave these rows out."
    )


# Arrays --------------------------------------------------------------------------


def _label_columns(array, path):
    """Return labels as a plain array, and the names of columns or None."""
    names = array.dtype.names
    if names is None:
        return array, None
    for name in names:
        if array[name].dtype.kind not in "fiu" or array[name].ndim != 1:
            raise FileFormatError(
                f"The column {name!r} of 'labels' in {str(path)!r} must hold one real "
                f"number for each spectrum; it holds {array.dtype[name]}. Leave it out."
            )
    columns = [np.asarray(array[name], dtype=np.float64) for name in names]
    return np.stack(columns, axis=1), list(names)


def _numbers(array, key, n_dimensions, path):
    if array.dtype.kind not in "fiu":
        raise FileFormatError(
            f"{key!r} in {str(path)!r} must hold real numbers; it holds {array.dtype}. "
            "Save it as float."
        )
    if array.ndim != n_dimensions or array.size == 0:
        raise FileFormatError(
            f"{key!r} in {str(path)!r} must have {n_dimensions} dimension(s), none of "
            f"length 0; its shape is {array.shape}. Reshape it before saving."
        )
    # HDF5 files are often big-endian, which torch does not take.
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _in_angstrom(wavelength, unit, path):
    """Convert wavelengths to Å from the unit that the file states, if any."""
    bad = np.flatnonzero(~np.isfinite(wavelength))
    if len(bad):
        raise FileFormatError(
            f"'wavelength' in {str(path)!r} must be finite; {len(bad)} of "
            f"{len(wavelength)} values are not, the first is number {bad[0]}. Leave "
            "out these pixels, in the flux as well."
        )
    wavelength = wavelength.astype(np.float64) * _scale(_as_text(unit) or "", path)
    if wavelength[0] <= 0 or np.any(wavelength[1:] <= wavelength[:-1]):
        raise FileFormatError(
            f"'wavelength' in {str(path)!r} must be positive and increase strictly; it "
            f"runs from {wavelength[0]} to {wavelength[-1]}. Sort it, and the columns "
            "of the flux with it."
        )
    if wavelength[0] < SHORTEST:
        raise FileFormatError(
            f"'wavelength' in {str(path)!r} must be in Å; {wavelength[0]:g} to "
            f"{wavelength[-1]:g} looks like nm or µm. Multiply nm by 10 and µm by "
            "10 000, or state the unit: attribute 'unit' in HDF5, BUNIT in FITS."
        )
    return wavelength


def _scale(unit, path):
    from astropy import units

    try:
        return units.Unit(unit.strip()).to(units.AA) if unit.strip() else 1.0
    except (ValueError, units.UnitConversionError) as error:
        raise FileFormatError(
            f"The unit of 'wavelength' in {str(path)!r} must be a unit of length; it "
            f"is {unit!r}. Correct it."
        ) from error


def _check_shapes(data, target, wavelength, path):
    if len(data) != len(target):
        raise FileFormatError(
            f"'labels' and 'flux' in {str(path)!r} must have one row per spectrum; "
            f"their shapes are {data.shape} and {target.shape}. Transpose or trim one."
        )
    if target.shape[1] != len(wavelength):
        raise FileFormatError(
            f"'flux' in {str(path)!r} must have one column per wavelength; its shape "
            f"is {target.shape}, with {len(wavelength)} wavelengths. Transpose or trim "
            "one."
        )


def _like_flux(array, key, shape, path):
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise FileFormatError(
            f"{key!r} in {str(path)!r} must hold a number for each value of the flux, "
            f"{shape}; it holds {array.dtype} of the shape {array.shape}. Correct it, "
            "or leave it out."
        )
    return array


def _uncertainty(stored, shape, path):
    """Return the standard deviation of the flux, or None."""
    if "uncertainty" in stored and "ivar" in stored:
        raise FileFormatError(
            f"{str(path)!r} has both the error and the inverse variance of the flux. "
            "Keep one."
        )
    if "uncertainty" in stored:
        error = _like_flux(stored["uncertainty"], "uncertainty", shape, path)
        return error.astype(np.float64)
    if "ivar" not in stored:
        return None
    ivar = _like_flux(stored["ivar"], "ivar", shape, path).astype(np.float64)
    is_known = ivar > 0
    return np.where(is_known, np.where(is_known, ivar, 1.0) ** -0.5, np.inf)


def _mask(array, shape, path):
    return None if array is None else _like_flux(array, "mask", shape, path) != 0


def _strings(array, key, data, path):
    """Return one string per label, or None."""
    if array is None:
        return None
    strings = [_as_text(value) for value in np.atleast_1d(array).ravel().tolist()]
    if None in strings:
        raise FileFormatError(
            f"{key!r} in {str(path)!r} must hold strings; it holds {array.dtype}. Save "
            "it as `np.array(names, dtype=str)`."
        )
    if len(strings) != data.shape[1]:
        raise FileFormatError(
            f"{key!r} in {str(path)!r} must have one entry per column of 'labels'; it "
            f"has {len(strings)}, for {data.shape[1]} columns. Add or drop entries."
        )
    if key == "label_names" and len(set(strings)) < len(strings):
        raise FileFormatError(
            f"'label_names' in {str(path)!r} must not repeat a name; they are "
            f"{strings}. Name each column once."
        )
    return strings


def _medium(array, path):
    if array is None:
        return None
    values = [_as_text(value) for value in np.atleast_1d(array).ravel().tolist()]
    if len(values) != 1 or values[0] not in ("air", "vacuum"):
        raise FileFormatError(
            f"'medium' in {str(path)!r} must be 'air' or 'vacuum'; it is {values}. "
            "Correct it, or leave it out if it is not known."
        )
    return values[0]


def _power(array, path):
    if array is None:
        return None
    numbers = np.atleast_1d(array).ravel()
    if numbers.dtype.kind not in "fiu" or numbers.size != 1 or not numbers[0] > 0:
        raise FileFormatError(
            f"'resolving_power' in {str(path)!r} must be one positive number; it is "
            f"{numbers.tolist()}. Correct it, or leave it out if it is not known."
        )
    return float(numbers[0])


def _as_text(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else None
