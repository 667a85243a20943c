"""Errors of an emulator on the spectra that were held out from its training."""

import warnings
from dataclasses import dataclass

import numpy as np

from sk_payne.trained._blocks import add_rows, row_blocks
from sk_payne.trained._errors import ErrorModel
from sk_payne.trained._label_errors import LabelErrors

__all__ = ["HeldOutErrors", "error_by_quartile"]

# Residuals of at most so many spectra are kept if the flux is on disk.
_MAX_KEPT = 4096


@dataclass(frozen=True, eq=False)
class HeldOutErrors:
    """Errors on the held-out spectra.

    Parameters
    ----------
    mae, rms : ndarray of shape (n_wavelengths,)
        Mean absolute and root mean square error of the flux at each wavelength.
    label_edges : ndarray of shape (n_labels, 5) or None
        Quartiles of the labels, with their minimum and maximum; None in old files.
    label_mae : ndarray of shape (n_labels, 4) or None
        Mean absolute error of the stars in each quarter of every label.
    model : ErrorModel
        1 sigma error at each wavelength and for each star.
    label_errors : LabelErrors or None
        Errors of fitted labels that errors of the flux bring about; None if there are
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
            The training box.
        module : TorchEmulator, default=None
            The trained emulator, for derivatives; without it, errors of labels are not
            measured.

        Returns
        -------
        errors : HeldOutErrors
            Masked pixels do not count.

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
    """Mean error of the stars in each quarter of every label.

    Parameters
    ----------
    labels : ndarray of shape (n_spectra, n_labels)
        Stellar parameters.
    residuals : ndarray of shape (n_spectra, n_wavelengths)
        Predicted minus true flux.

    Returns
    -------
    edges : ndarray of shape (n_labels, 5)
        Quartiles of the labels, with their minimum and maximum.
    mae : ndarray of shape (n_labels, 4)
        Mean absolute error between them; not a number where there is no star, as
        labels with few values have it.

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
    # row by row, as a copy of all may not fit
    spectrum_mae = np.array([np.abs(r).mean(dtype=np.float64) for r in residuals])
    mae = np.full((len(edges), 4), np.nan)
    for row, inner, column in zip(mae, edges[:, 1:-1], labels.T, strict=True):
        quarter = np.searchsorted(inner, column, side="right")
        for q in np.unique(quarter):
            row[q] = spectrum_mae[quarter == q].mean()
    return edges, mae


def _compare(predict, labels, flux, rows):
    """Mean errors at each wavelength, and the residuals of the spectra that are kept.

    If the flux is on disk, residuals of evenly spread spectra are kept, in float32.
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
        absolute, square = _fill_unseen(absolute, square, n_good)
        _fill_masked(residuals, np.sqrt(square / np.maximum(n_good, 1)))
    n_good = np.maximum(n_good, 1)
    return absolute / n_good, np.sqrt(square / n_good), kept, residuals


def _fill_masked(residuals, rms):
    """Give masked pixels the residual of the next spectrum that has one there.

    Quantiles at a wavelength then are nearly those of its good pixels. Where no
    spectrum has one, the residual is the root mean square error.
    """
    for _ in range(2):  # round the end
        for row in range(len(residuals) - 1, -1, -1):
            following = residuals[(row + 1) % len(residuals)]
            np.copyto(residuals[row], following, where=np.isnan(residuals[row]))
    np.copyto(residuals, rms.astype(np.float32), where=np.isnan(residuals))


def _fill_unseen(absolute, square, n_good):
    """Give wavelengths without a good held-out pixel the mean error of the others."""
    unseen = n_good == 0
    if not unseen.any():
        return absolute, square
    if unseen.all():
        raise ValueError(
            "`mask` must leave good pixels in the held-out spectra; all are masked. "
            "Pass validation_fraction=0, or leave such spectra out."
        )
    warnings.warn(
        f"{unseen.sum()} of {len(unseen)} wavelengths are masked in every held-out "
        f"spectrum, the first is column {np.argmax(unseen)}: their error is taken as "
        "the mean over the other wavelengths. Raise `validation_fraction`.",
        stacklevel=6,
    )
    seen = ~unseen
    return tuple(
        np.where(unseen, np.mean(total[seen] / n_good[seen]), total)
        for total in (absolute, square)
    )
