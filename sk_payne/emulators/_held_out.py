"""The held-out spectra: which they are, and how wrong an emulator is on them.

They are here because they may be too many for memory.
"""

import numpy as np

from sk_payne.emulators._flux import add_rows, row_blocks

__all__ = ["choose_held_out", "measure_held_out"]

# Of flux on disk, the residuals of so many spectra are kept.
_MAX_KEPT = 4096


def choose_held_out(n, fraction, random_state, recipe):
    """Choose the spectra that are not trained on.

    Parameters
    ----------
    n : int
        Number of spectra.
    fraction : float
        Part to hold out, rounded down.
    random_state : RandomState
        Draws them.
    recipe : Recipe
        May need them.

    Returns
    -------
    held_out : ndarray of int
        Rows in increasing order.

    Raises
    ------
    ValueError
        If the fraction is not allowed, or early stopping has nothing to look at.
    """
    if not 0 <= fraction < 1:
        raise ValueError(
            f"`validation_fraction` must be at least 0 and below 1; got {fraction!r}. "
            "Pass 0 to train on every spectrum."
        )
    held_out = np.sort(random_state.permutation(n)[: int(n * fraction)])
    if recipe.patience is not None and not len(held_out):
        raise ValueError(
            "`recipe` entry 'patience' needs held-out spectra; got "
            f"`validation_fraction`={fraction} of {n} spectra. Raise it, or set "
            "'patience' to None."
        )
    return held_out


def measure_held_out(predict, labels, flux, rows):
    """Compare predictions with the held-out spectra, in blocks.

    Parameters
    ----------
    predict : callable
        Given labels, float32, returns flux.
    labels : ndarray of shape (n_held_out, n_labels)
        Stellar parameters of the held-out spectra.
    flux : ndarray or StreamedFlux of shape (n_spectra, n_wavelengths)
        Of all spectra.
    rows : ndarray of shape (n_held_out,), int
        Which are held out; at least one.

    Returns
    -------
    mae, rms : ndarray of shape (n_wavelengths,), float64
        Mean absolute and root mean square error.
    kept : ndarray of shape (n_kept,), int
        Which of the held-out spectra the residuals are of: all, or evenly spread ones
        if the flux is on disk.
    residuals : ndarray of shape (n_kept, n_wavelengths), float32
        Predicted minus true flux.
    """
    n, n_wavelengths = len(rows), flux.shape[1]
    n_kept = n if isinstance(flux, np.ndarray) else min(n, _MAX_KEPT)
    kept = np.arange(n_kept) * n // n_kept
    residuals = np.empty((n_kept, n_wavelengths), np.float32)
    absolute, square = np.zeros(n_wavelengths), np.zeros(n_wavelengths)
    for block in row_blocks(n, n_wavelengths):
        predicted = predict(labels[block].astype(np.float32))
        residual = (predicted - flux[rows[block]]).astype(np.float32)
        add_rows(absolute, np.abs(residual))
        add_rows(square, residual**2)
        first, last = np.searchsorted(kept, [block.start, block.stop])
        residuals[first:last] = residual[kept[first:last] - block.start]
    return absolute / n, np.sqrt(square / n), kept, residuals
