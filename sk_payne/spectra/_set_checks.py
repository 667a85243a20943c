"""Checks of the arrays and indices of a SpectrumSet."""

import numpy as np

__all__ = [
    "checked_per_pixel",
    "checked_rows",
    "checked_rows_key",
    "checked_wavelength",
]


def checked_rows(values, name):
    """Return an array of one row per spectrum, after checking that it is finite."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(
            f"`{name}` must have the shape (n_spectra, n_pixels); got {values.shape}. "
            "Pass one row per spectrum."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"`{name}` must be finite; got {(~np.isfinite(values)).sum()} values that "
            "are not. Pass 0 there, with an `ivar` of 0."
        )
    return values


def checked_per_pixel(name, values, shape):
    """Return what each pixel has, a number or the row of a matrix, or None."""
    if values is None:
        return None
    values = np.asarray(values, dtype=np.float64)
    n_axes = 3 if name == "resolution_matrix" else 2
    good = values.ndim == n_axes and values.shape[:2] == shape
    if not good or (n_axes == 3 and values.shape[2] % 2 == 0):
        wanted = (*shape, "odd d") if n_axes == 3 else shape
        raise ValueError(
            f"`{name}` must have the shape {wanted}, one entry per pixel of `flux`; "
            f"got {values.shape}."
        )
    return values


def checked_wavelength(wavelength, n, p, arm):
    """Return wavelengths that increase along each arm of each spectrum, or None."""
    if wavelength is None:
        return None
    wavelength = np.asarray(wavelength, dtype=np.float64)
    if wavelength.shape not in ((p,), (n, p)):
        raise ValueError(
            f"`wavelength` must have the shape {(p,)} or {(n, p)}; "
            f"got {wavelength.shape}. Pass one wavelength per pixel of `flux`."
        )
    # Written so that NaN fails too.
    steps_up = np.diff(wavelength, axis=-1) > 0
    if arm is not None:
        if arm.shape != wavelength.shape or not (np.diff(arm, axis=-1) >= 0).all():
            raise ValueError(
                "`arm` must have the shape of `wavelength`, "
                f"{wavelength.shape}, and not fall along a spectrum; got {arm.shape}. "
                "Put all pixels of an arm side by side."
            )
        steps_up |= np.diff(arm, axis=-1) > 0
    if not (steps_up.all() and np.isfinite(wavelength).all()):
        raise ValueError(
            "`wavelength` must be finite and increase strictly along each spectrum; "
            f"{(~steps_up).sum()} steps do not. Sort the pixels and drop repeated ones."
        )
    return wavelength


def checked_rows_key(key, n):
    """Return the rows that an index of a set chooses."""
    # scikit-learn's _safe_indexing asks an array-like for X[indices, ...].
    if isinstance(key, tuple):
        if len(key) != 2 or key[1] is not Ellipsis:
            raise IndexError(
                f"A SpectrumSet is indexed by rows only; got {key!r}. "
                "Index its `flux` and `ivar` to select pixels."
            )
        key = key[0]
    if isinstance(key, slice):
        return key
    rows = np.asarray(key)
    if rows.size == 0 and rows.dtype != bool:
        rows = rows.astype(np.intp)
    if rows.ndim > 1 or rows.dtype.kind not in "iub":
        raise IndexError(
            "Rows of a SpectrumSet are chosen by an int, a slice, or a 1-D array of "
            f"ints or booleans; got {key!r}."
        )
    if rows.dtype == bool and rows.shape != (n,):
        raise IndexError(
            f"A boolean row mask must have one value per spectrum, {n}; "
            f"got the shape {rows.shape}."
        )
    return np.atleast_1d(rows)
