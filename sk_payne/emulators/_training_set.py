"""TrainingSet: checked labels and flux, with names, units and wavelengths."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_array, check_consistent_length, check_X_y

from sk_payne.emulators._flux import TrainingFlux, is_streamed
from sk_payne.grids import StoredGrid
from sk_payne.inputs import read_flux, read_labels
from sk_payne.trained import resolve_label_units

__all__ = ["TrainingSet", "read_like", "read_training_set"]

_FLOATS = (np.float64, np.float32)
# Descriptions of columns that a stored grid has.
_DESCRIBED = ("label_names", "label_units", "wavelength", "medium")


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Labels and flux, with names, units and wavelengths of their columns.

    Parameters
    ----------
    labels : ndarray of shape (n_spectra, n_labels)
        Stellar parameters, float32 or float64.
    flux : TrainingFlux of shape (n_spectra, n_wavelengths)
        Flux, with the weights of its pixels.
    label_names, label_units : list of str or None
        Names and units of the labels; None if unknown.
    has_feature_names : bool
        Whether the names came with the columns of a table.
    wavelength : array-like of shape (n_wavelengths,) or None
        Wavelengths in Å, not checked yet; None if unknown.
    medium : str or None
        Medium of the wavelengths, not checked yet.
    """

    labels: np.ndarray
    flux: TrainingFlux
    label_names: list | None
    label_units: list | None
    has_feature_names: bool
    wavelength: np.ndarray | None
    medium: str | None


def read_training_set(emulator, X, y, uncertainty=None, mask=None):
    """Read labels and flux as they were given to ``fit``.

    Parameters
    ----------
    emulator : BaseEmulator
        Its arguments `label_names`, `label_units`, `wavelength` and `medium` are read.
    X : array-like or table of shape (n_spectra, n_labels), or StoredGrid
        Stellar parameters.
    y : array-like of shape (n_spectra, n_wavelengths) or None
        Flux.
    uncertainty : array-like of shape (n_spectra, n_wavelengths), default=None
        1 sigma error of the flux.
    mask : array-like of shape (n_spectra, n_wavelengths), default=None
        True for bad pixels.

    Returns
    -------
    spectra : TrainingSet
        Checked, except for the wavelengths.

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, there are fewer than two spectra,
        or a grid contradicts an argument.
    """
    columns = {name: getattr(emulator, name) for name in _DESCRIBED}
    if isinstance(X, StoredGrid):
        if y is not None:
            raise ValueError(
                "`y` must be left out when `X` is a StoredGrid, which has its flux; "
                f"got {type(y).__name__}. Pass grid.data and another flux otherwise."
            )
        columns = _combine(columns, X)
        X, y = X.data, X.target
    names = None if columns["label_names"] is None else list(columns["label_names"])
    units = columns["label_units"]
    table = read_labels(X, names=names)
    titles = names or table.names
    if units is not None and titles is not None:
        units = resolve_label_units(units, titles)
    if not isinstance(units, Mapping):  # else the names are not known yet
        table = read_labels(X, names=names, units=units)
    labels, flux = _read_arrays(emulator, table.values, y, uncertainty, mask)
    has_names = names is None and table.names is not None
    return TrainingSet(
        labels=labels,
        flux=flux,
        label_names=table.names if has_names else names,
        label_units=table.units if units is None else units,
        has_feature_names=has_names,
        wavelength=columns["wavelength"],
        medium=columns["medium"],
    )


def read_like(spectra, X, y, name):
    """Read further labels and flux with the columns of a training set.

    Parameters
    ----------
    spectra : TrainingSet
        Its label names, units, precision and number of wavelengths are taken.
    X, y : array-like or table
        Labels and flux.
    name : str
        Name of the argument in errors.

    Returns
    -------
    labels : ndarray of shape (n_spectra, n_labels)
        Labels.
    flux : TrainingFlux of shape (n_spectra, n_wavelengths)
        Flux.

    Raises
    ------
    ValueError
        If columns do not fit, or values are not finite.
    """
    table = read_labels(
        X, argument=name, names=spectra.label_names, units=spectra.label_units
    )
    try:
        labels = check_array(table.values, dtype=_FLOATS, input_name=name)
        mask = None
        if not is_streamed(y):
            given = read_flux(y, argument=name, unit="")
            y, mask = np.asarray(given.values, spectra.flux.dtype), given.mask
        flux = TrainingFlux(y, mask=mask, name=name)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be a tuple of labels and flux, both finite: {error}"
        ) from error
    expected = (len(labels), spectra.flux.shape[1])
    if labels.shape[1] != spectra.labels.shape[1] or flux.shape != expected:
        raise ValueError(
            f"`{name}` must have the {spectra.labels.shape[1]} labels and "
            f"{spectra.flux.shape[1]} wavelengths of `X` and `y`; got {labels.shape} "
            f"and {flux.shape}."
        )
    return labels.astype(spectra.labels.dtype, copy=False), flux


def _combine(arguments, grid):
    """Descriptions of the columns of a grid; arguments must agree with them."""
    for name, given in arguments.items():
        stored = getattr(grid, name)
        if given is not None and not _agrees(name, given, stored, grid.label_names):
            shown = [_shown(value) for value in (stored, given)]
            raise ValueError(
                f"`{name}` must be that of the grid '{grid.path}', {shown[0]}; got "
                f"{shown[1]}. Leave it out, or pass grid.data and grid.target."
            )
    return {name: getattr(grid, name) for name in arguments}


def _agrees(name, given, stored, label_names):
    if name == "wavelength":
        return np.array_equal(given, stored)
    if name == "label_units":
        # an empty unit agrees with any
        units = resolve_label_units(given, label_names)
        return all(unit in ("", s) for unit, s in zip(units, stored, strict=True))
    return given == stored if name == "medium" else list(given) == list(stored)


def _shown(value):
    if isinstance(value, str | dict):
        return repr(value)
    if isinstance(value, list | tuple):
        return repr(list(value))
    return f"{np.size(value)} from {np.min(value):g} to {np.max(value):g} Å"


def _read_arrays(emulator, labels, y, uncertainty, mask):
    """Labels and flux, validated as scikit-learn validates them."""
    rules = {"ensure_min_samples": 2, "dtype": _FLOATS, "estimator": emulator}
    if is_streamed(y):
        labels = check_array(labels, input_name="X", **rules)
        check_consistent_length(labels, y)
        return labels, TrainingFlux(
            y,
            mask=_pixels("mask", mask, y.shape),
            uncertainty=_pixels("uncertainty", uncertainty, y.shape),
        )
    if y is not None:
        given = read_flux(y, unit="")
        y, mask = given.values, _unite(mask, given.mask)
    if uncertainty is not None and not is_streamed(uncertainty):
        given = read_flux(uncertainty, argument="uncertainty", unit="")
        uncertainty, mask = given.values, _unite(mask, given.mask)
    shape = np.shape(y)
    mask = _pixels("mask", mask, shape)
    uncertainty = _pixels("uncertainty", uncertainty, shape)
    if mask is not None or uncertainty is not None:
        y = _without_bad_pixels(y, mask, uncertainty)
    try:
        labels, y = check_X_y(labels, y, multi_output=True, y_numeric=True, **rules)
    except ValueError as error:
        _name_bad_rows(y, error)
        raise
    if y.ndim == 1:
        raise ValueError(
            "`y` (flux F) must have the shape (n_spectra, n_wavelengths); got "
            f"{y.shape}. Reshape a single wavelength with y.reshape(-1, 1)."
        )
    if y.dtype not in _FLOATS:
        y = y.astype(np.float64)
    return labels, TrainingFlux(y, mask=mask, uncertainty=uncertainty)


def _unite(mask, other):
    """Mask of the pixels that are bad in either mask; None if both are None."""
    if mask is None or other is None:
        return other if mask is None else mask
    return np.asarray(mask, bool) | other


def _pixels(name, values, shape):
    """Mask or uncertainty, checked to have the shape of the flux; None stays None."""
    if values is None:
        return None
    if not is_streamed(values):
        values = np.asarray(values)
    if values.shape != shape:
        raise ValueError(
            f"`{name}` must have the shape of `y`, {shape}; got {values.shape}."
        )
    if name == "mask" and values.dtype.kind not in "bui":
        raise ValueError(
            "`mask` must be of booleans, True for bad pixels, or of integers, 0 for "
            f"good ones; got {values.dtype}. Pass a comparison, such as ivar == 0."
        )
    return values


def _without_bad_pixels(y, mask, uncertainty):
    """Copy of flux with zero at bad pixels, whose values may be NaN."""
    y = np.array(y)
    if mask is not None:
        y[np.asarray(mask, bool)] = 0
    if uncertainty is not None:
        y[~np.isfinite(np.asarray(uncertainty))] = 0
    return y


def _name_bad_rows(flux, error):
    """Raise the error again with row numbers, if the flux is not finite."""
    if "Input y contains" not in str(error):
        return
    values = np.asarray(flux, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    raise ValueError(
        f"{error} {len(bad)} of {len(values)} spectra are not finite everywhere, the "
        f"first is row {bad[0]}. Leave them out, or mask the pixels with `mask`."
    ) from error
