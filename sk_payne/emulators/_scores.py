"""Scores of emulators, in blocks of spectra; those of scikit-learn copy all flux."""

import numpy as np
from sklearn.utils import check_consistent_length

from sk_payne.trained import row_blocks

__all__ = [
    "neg_mean_absolute_error",
    "neg_root_mean_squared_error",
    "r2_in_blocks",
]


def neg_mean_absolute_error(estimator, X, y):
    """Score like scikit-learn's "neg_mean_absolute_error", in blocks of spectra.

    Parameters
    ----------
    estimator : estimator
        Fitted; it predicts flux.
    X : array-like or DataFrame of shape (n_spectra, n_labels)
        Stellar parameters P.
    y : array-like of shape (n_spectra, n_wavelengths)
        True flux, in memory or on disk.

    Returns
    -------
    score : float
        Minus the mean absolute error of all flux values.

    Raises
    ------
    ValueError
        If the numbers of stars and spectra differ.

    See Also
    --------
    sk_payne.grids.RowView : Flux for cross-validation without copies.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.emulators import neg_mean_absolute_error
    >>> from sk_payne.grids import RowView
    >>> grid = make_spectra(60, random_state=0)
    >>> F = RowView(grid.target)  # or numpy.load("flux.npy", mmap_mode="r")
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=100, random_state=0)
    >>> emulator = emulator.fit(grid.data, F)
    >>> bool(neg_mean_absolute_error(emulator, grid.data, F) > -0.1)
    True
    """
    return -float(np.mean(_mean_errors(estimator, X, y, np.abs)))


def neg_root_mean_squared_error(estimator, X, y):
    """Score like scikit-learn's "neg_root_mean_squared_error", in blocks of spectra.

    Parameters
    ----------
    estimator : estimator
        Fitted; it predicts flux.
    X : array-like or DataFrame of shape (n_spectra, n_labels)
        Stellar parameters P.
    y : array-like of shape (n_spectra, n_wavelengths)
        True flux, in memory or on disk.

    Returns
    -------
    score : float
        Minus the root mean square error of each wavelength, averaged over wavelengths.

    Raises
    ------
    ValueError
        If the numbers of stars and spectra differ.

    See Also
    --------
    neg_mean_absolute_error : The mean absolute error.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyRegressor
    >>> from sk_payne.emulators import neg_root_mean_squared_error
    >>> P, F = np.zeros((2, 1)), np.array([[1.0, 0.5], [0.8, 0.5]])
    >>> mean_spectrum = DummyRegressor().fit(P, F)
    >>> round(neg_root_mean_squared_error(mean_spectrum, P, F), 3)
    -0.05
    """
    return -float(np.mean(np.sqrt(_mean_errors(estimator, X, y, np.square))))


def r2_in_blocks(predict, y, sample_weight, mask=None):
    """R² of all flux values together, in blocks of spectra.

    Parameters
    ----------
    predict : callable
        Function of a slice of rows that returns their flux.
    y : array-like of shape (n_spectra, n_wavelengths)
        True flux, in memory or on disk.
    sample_weight : array-like of shape (n_spectra,) or None
        Weights of the spectra.
    mask : array-like of shape (n_spectra, n_wavelengths), default=None
        True for pixels that do not count.

    Returns
    -------
    score : float
        R² as in `sklearn.metrics.r2_score` with ``multioutput="variance_weighted"``.
    """
    n, n_wavelengths = y.shape
    weight = np.ones(n) if sample_weight is None else np.asarray(sample_weight, float)
    check_consistent_length(y, weight)
    error, first, second, total = np.zeros((4, n_wavelengths))
    middle = None
    for rows in row_blocks(n, n_wavelengths):
        true = np.asarray(y[rows], np.float64)
        w = np.broadcast_to(weight[rows, None], true.shape)
        if mask is not None:
            w, true = np.where(mask[rows], 0, w), np.where(mask[rows], 0, true)
        if middle is None:
            # subtracted below, so that the difference of sums is precise
            n_good = np.count_nonzero(w, axis=0)
            middle = np.where(w != 0, true, 0).sum(axis=0) / np.maximum(n_good, 1)
        error += (w * (predict(rows) - true) ** 2).sum(axis=0)
        first += (w * (true - middle)).sum(axis=0)
        second += (w * (true - middle) ** 2).sum(axis=0)
        total += w.sum(axis=0)
    scatter = second - first**2 / np.where(total > 0, total, 1)
    # wavelengths at which all spectra agree do not count, as in scikit-learn
    varies = second > 0
    if not varies.any():
        return float(np.mean(error == 0))
    return float(1 - error[varies].sum() / scatter[varies].sum())


def _mean_errors(estimator, X, y, function):
    """Mean over the spectra of a function of the error, at each wavelength."""
    check_consistent_length(X, y)
    n, n_wavelengths = y.shape
    total = np.zeros(n_wavelengths)
    for rows in row_blocks(n, n_wavelengths):
        labels = X.iloc[rows] if hasattr(X, "iloc") else X[rows]
        error = estimator.predict(labels) - np.asarray(y[rows])
        total += function(error).sum(axis=0, dtype=np.float64)
    return total / n
