"""Errors of an emulator on the spectra held out from training."""

import warnings
from dataclasses import dataclass

import numpy as np

from sk_payne.trained._blocks import add_rows, row_blocks
from sk_payne.trained._errors import ErrorModel
from sk_payne.trained._label_errors import LabelErrors

__all__ = ["HeldOutErrors", "error_by_quartile"]

# Largest number of spectra whose residuals are kept if the flux is on disk.
_MAX_KEPT = 4096


@dataclass(frozen=True, eq=False)
class HeldOutErrors:
    """Errors on the held-out spectra.

    Parameters
    ----------
    mae, rms : ndarray of shape (n_wavelengths,)
        Mean absolute and root mean square error of the flux at each wavelength.
    label_edges : ndarray of shape (n_labels, 5) or None
        Minimum, quartiles and maximum of the labels; None in old files.
    label_mae : ndarray of shape (n_labels, 4) or None
        Mean absolute error of the stars in each quarter of every label.
    model : ErrorModel
        1 sigma error of the flux by wavelength and star.
    label_errors : LabelErrors or None
        Covariance of fitted labels that errors of the flux cause; None if there are
        fewer than ten held-out spectra, and in old files.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> grid = make_spectra(60, random_state=0)
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator.fit(grid.data, grid.target).trained_.held_out.mae.shape
    (257,)
    """

    mae: np.ndarray
    rms: np.ndarray
    label_edges: np.ndarray | None
    label_mae: np.ndarray | None
    model: ErrorModel
    label_errors: LabelErrors | None

    @classmethod
    def measure(cls, predict, labels, flux, rows, label_low, label_high, module=None):
        """Compare predictions with the held-out spectra, in blocks.

        Parameters
        ----------
        predict : callable
            Returns the flux of labels of shape (n, n_labels), float32.
        labels : ndarray of shape (n_held_out, n_labels)
            Stellar parameters of the held-out spectra.
        flux : TrainingFlux of shape (n_spectra, n_wavelengths)
            Flux of all spectra.
        rows : ndarray of shape (n_held_out,), int
            Rows of the held-out spectra; at least one.
        label_low, label_high : ndarray of shape (n_labels,)
            Limits of the training box.
        module : TorchEmulator, default=None
            The trained emulator, for derivatives. If None, errors of labels are not
            measured.

        Returns
        -------
        errors : HeldOutErrors
            The errors, without masked pixels.

        Warns
        -----
        UserWarning
            If a wavelength is masked in every held-out spectrum.
        """
        mae, rms, kept, residuals = _compare(predict, labels, flux, rows)
        edges, label_mae = error_by_quartile(labels[kept], residuals)
        model = ErrorModel.from_held_out(labels[kept], residuals, label_low, label_high)
        label_errors = None
        if module is not None:
            label_errors = LabelErrors.measure(module, model, labels, flux, rows)
        return cls(mae, rms, edges, label_mae, model, label_errors)


def error_by_quartile(labels, residuals):
    """Compute the mean error of the stars in each quarter of every label.

    Parameters
    ----------
    labels : ndarray of shape (n_spectra, n_labels)
        Stellar parameters.
    residuals : ndarray of shape (n_spectra, n_wavelengths)
        Predicted minus true flux.

    Returns
    -------
    edges : ndarray of shape (n_labels, 5)
        Minimum, quartiles and maximum of the labels.
    mae : ndarray of shape (n_labels, 4)
        Mean absolute error between them; NaN for a quarter without stars, which labels
        with few values may have.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.trained import error_by_quartile
    >>> teff = np.array([[4000.0], [4400.0], [4800.0], [5200.0]])
    >>> residuals = np.array([[4.0, -2.0], [1.0, 1.0], [-1.0, 1.0], [2.0, 0.0]])
    >>> edges, mae = error_by_quartile(teff, residuals)
    >>> edges
    array([[4000., 4300., 4600., 4900., 5200.]])
    >>> mae
    array([[3., 1., 1., 1.]])
    """
    labels = np.asarray(labels, np.float64)
    edges = np.array([np.quantile(column, np.linspace(0, 1, 5)) for column in labels.T])
    # row by row, as a copy of all may not fit into memory
    spectrum_mae = np.array([np.abs(r).mean(dtype=np.float64) for r in residuals])
    mae = np.full((len(edges), 4), np.nan)
    for row, inner, column in zip(mae, edges[:, 1:-1], labels.T, strict=True):
        quarter = np.searchsorted(inner, column, side="right")
        for q in np.unique(quarter):
            row[q] = spectrum_mae[quarter == q].mean()
    return edges, mae


def _compare(predict, labels, flux, rows):
    """Return MAE and rms at each wavelength, and rows and residuals of spectra to keep.

    All spectra are kept, or evenly spread ones if the flux is on disk. Residuals are
    float32.
    """
    n, n_wavelengths = len(rows), flux.shape[1]
    n_kept = min(n, _MAX_KEPT) if flux.is_streamed else n
    kept = np.arange(n_kept) * n // n_kept
    residuals = np.empty((n_kept, n_wavelengths), np.float32)
    absolute, square, n_good = np.zeros((3, n_wavelengths))
    for block in row_blocks(n, n_wavelengths):
        predicted = predict(labels[block].astype(np.float32))
        residual = (predicted - flux[rows[block]]).astype(np.float32)
        bad = flux.bad_pixels(rows[block])
        if bad is not None:
            residual[bad] = 0
            n_good -= bad.sum(axis=0)
        n_good += len(residual)
        add_rows(absolute, np.abs(residual))
        add_rows(square, np.square(residual, dtype=np.float64))
        if bad is not None:
            residual[bad] = np.nan
        first, last = np.searchsorted(kept, [block.start, block.stop])
        residuals[first:last] = residual[kept[first:last] - block.start]
    if (n_good < n).any():
        absolute, square = _fill_unobserved(absolute, square, n_good)
        _fill_masked(residuals, np.sqrt(square / np.maximum(n_good, 1)))
    n_good = np.maximum(n_good, 1)
    return absolute / n_good, np.sqrt(square / n_good), kept, residuals


def _fill_masked(residuals, rms):
    """Fill masked pixels with the residual of the next spectrum that has one there.

    Quantiles at a wavelength then are nearly those of its good pixels. Where no
    spectrum has one, the residual is the root mean square error.
    """
    for _ in range(2):  # twice, as the first spectrum follows the last
        for row in range(len(residuals) - 1, -1, -1):
            following = residuals[(row + 1) % len(residuals)]
            np.copyto(residuals[row], following, where=np.isnan(residuals[row]))
    np.copyto(residuals, rms.astype(np.float32), where=np.isnan(residuals))


def _fill_unobserved(absolute, square, n_good):
    """Fill wavelengths without a good held-out pixel with the mean error of others."""
    is_empty = n_good == 0
    if not is_empty.any():
        return absolute, square
    if is_empty.all():
        raise ValueError(
            "`mask` must leave good pixels in the held-out spectra; all are masked. "
            "Pass validation_fraction=0, or leave such spectra out."
        )
    warnings.warn(
        f"{is_empty.sum()} of {len(is_empty)} wavelengths are masked in every held-out "
        f"spectrum, the first is column {np.argmax(is_empty)}: their error is taken as "
        "the mean over the other wavelengths. Raise `validation_fraction`.",
        stacklevel=6,
    )
    others = ~is_empty
    return tuple(
        np.where(is_empty, np.mean(total[others] / n_good[others]), total)
        for total in (absolute, square)
    )
