"""Spectra and labels as users pass them, checked and read."""

from os import PathLike

import numpy as np
from sklearn.utils.validation import validate_data

from sk_payne.abundances._training_spectra import on_one_grid, read_training_labels
from sk_payne.inputs import LabelTable, read_flux
from sk_payne.spectra import SpectrumSet, as_spectra

__all__ = ["read_observed", "read_training", "refuse_paths"]


def read_observed(regressor, X, uncertainty, mask):
    """Read the spectra of stars to measure.

    Parameters
    ----------
    regressor : AbundanceRegressor
        The regressor.
    X, uncertainty, mask
        Arguments of :meth:`AbundanceRegressor.measure`.

    Returns
    -------
    spectra : SpectrumSet
        Spectra with errors.

    Raises
    ------
    ValueError
        If there is no uncertainty.
    """
    if _is_plain(X):
        X = _validated(regressor, X, reset=False)
    return as_spectra(
        X,
        medium=regressor.medium,
        uncertainty=uncertainty,
        mask=mask,
        snr=regressor.snr,
    )


def read_training(regressor, X, y):
    """Read training spectra on one grid, and labels in the order of the emulator.

    Parameters
    ----------
    regressor : AbundanceRegressor
        The regressor.
    X, y
        Arguments of :meth:`AbundanceRegressor.fit`.

    Returns
    -------
    spectra : SpectrumSet
        Spectra on one grid.
    table : LabelTable
        Labels.

    Raises
    ------
    TypeError
        If there are paths instead of spectra.
    ValueError
        If numbers of rows or wavelengths differ.
    """
    refuse_paths(regressor, X)
    table = read_training_labels(y, regressor.emulator)
    y = table.values
    if _is_plain(X):
        X, y = _validated(regressor, X, y, multi_output=True, y_numeric=True)
    spectra = as_spectra(X, medium=regressor.medium, require_uncertainty=False)
    y = np.asarray(y, dtype=np.float64)
    if len(spectra) != len(y):
        raise ValueError(
            f"`y` must have one row of labels for each of the {len(spectra)} spectra; "
            f"got {len(y)}."
        )
    if spectra.wavelength is not None and spectra.wavelength.ndim == 2:
        spectra = on_one_grid(spectra)
    return spectra, LabelTable(y, table.names, table.units)


def refuse_paths(regressor, X):
    """Refuse empty lists, and paths in place of spectra or an emulator.

    Parameters
    ----------
    regressor : AbundanceRegressor
        The regressor.
    X : object
        Argument of its methods.

    Raises
    ------
    TypeError
        If the emulator or the first spectrum is a path.
    ValueError
        If `X` is an empty list.
    """
    is_list = isinstance(X, list | tuple)
    if is_list and not len(X):
        raise ValueError("`X` must hold at least one spectrum; got an empty list.")
    first = X[0] if is_list else X
    for name, value, reader in (
        ("emulator", regressor.emulator, "sk_payne.load"),
        ("X", first, "sk_payne.spectra.read_spectra"),
    ):
        if isinstance(value, str | PathLike):
            raise TypeError(
                f"`{name}` must not be a path; got {str(value)!r}. Read the file with "
                f"{reader}."
            )


def _validated(regressor, X, *y, **options):
    """Check flux and labels as scikit-learn does; flux keeps its unit and mask."""
    table = read_flux(X, argument="X")
    has_more = table.mask is not None or table.unit is not None
    plain = table.values if has_more else X
    options |= {"dtype": np.float64, "ensure_all_finite": False}
    checked = validate_data(regressor, plain, *y, **options)
    if not has_more:
        return checked
    return (X, checked[1]) if y else X


def _is_plain(X):
    """Check whether X is no container of spectra, for checks by scikit-learn."""
    if isinstance(X, SpectrumSet):
        return False
    if isinstance(X, np.ndarray) and X.dtype == object and X.size:
        X = X.flat[0]
    while isinstance(X, list | tuple) and len(X):
        X = X[0]
    # a user's class may derive from one of specutils
    return not any(cls.__module__.startswith("specutils") for cls in type(X).__mro__)
