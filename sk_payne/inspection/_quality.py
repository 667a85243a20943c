"""emulation_quality: errors of an emulator by wavelength, star, label and line."""

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from sk_payne.inspection._opened import label_array, varied_labels, wavelength_axis

__all__ = ["emulation_quality"]


def emulation_quality(emulator, P, F, lines=None, *, half_width=0.1, n_bins=6):
    """Compute the errors of an emulator on test spectra.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted.
    P : array-like or table of shape (n_spectra, n_labels)
        Stellar parameters; columns of a table are taken by name.
    F : array-like of shape (n_spectra, n_wavelengths)
        True flux.
    lines : mapping of str to array-like of float, default=None
        Elements, and the wavelengths of their lines in Å, in the medium of the
        emulator; those outside its range are left out.
    half_width : float, default=0.1
        How far from its wavelength a line counts, in Å.
    n_bins : int, default=6
        Number of bins of each label, and of the distance to the edge of the training
        box; bins hold equally many spectra.

    Returns
    -------
    quality : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        wavelength : ndarray of shape (n_wavelengths,)
            Wavelengths in Å, or pixel numbers.
        medium : {"air", "vacuum"} or None
            Medium of the wavelengths; None for pixels.
        mean_flux : ndarray of shape (n_wavelengths,)
            Mean of the true spectra.
        median_error, error_68, error_95, worst_error : ndarray of (n_wavelengths,)
            Median, 68.27 % and 95 % quantile and maximum, over spectra, of the absolute
            error of the flux.
        bias : ndarray of shape (n_wavelengths,)
            Mean of predicted - true.
        mae, rms, max_error : float
            Mean absolute, root mean square and largest error of all flux values.
        spectrum_mae : ndarray of shape (n_spectra,)
            Mean absolute error of each spectrum.
        domain : ndarray of shape (n_spectra,), str
            "inside", "edge" or "outside", see :meth:`SpectrumEmulator.domain`.
        worst : ndarray of shape (at most 5,), int
            Rows of the spectra with the largest `spectrum_mae`, the worst first.
        worst_flux, worst_predicted : ndarray of shape (at most 5, n_wavelengths)
            True and predicted flux of the worst spectra.
        label_names, label_units : list of str
            Names and units of the labels that varied in training.
        label_edges : ndarray of shape (n_varied, n_bins + 1)
            Edges of the bins of each label.
        label_mae, label_median : ndarray of shape (n_varied, n_bins)
            Mean and median of `spectrum_mae` in each bin: a few bad spectra raise the
            mean.
        edge_distance : ndarray of shape (n_spectra,)
            Distance from the nearest face of the training box, in half widths of the
            box: 1 at its centre, negative outside.
        edge_edges : ndarray of shape (n_bins + 1,)
            Edges of the bins of the distance.
        edge_mae, edge_median : ndarray of shape (n_bins,)
            Mean and median of `spectrum_mae` in each bin.
        line_element : ndarray of shape (n_lines,), str
            Element of each line.
        line_wavelength : ndarray of shape (n_lines,)
            Wavelength of each line in Å.
        line_mae, line_bias, line_depth : ndarray of shape (n_lines,)
            Mean absolute error, mean of predicted - true, and mean depth of the line in
            the true spectra, of pixels within `half_width`.
        element_names : list of str
            Elements with lines in the range.
        element_mae : ndarray of shape (n_elements,)
            Mean absolute error of pixels within `half_width` of any line.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If shapes do not fit, or an argument is not allowed.

    Warns
    -----
    ExtrapolationWarning
        If stars are outside the domain of the emulator.

    See Also
    --------
    emulator_report : Page with these numbers and pictures.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import emulation_quality
    >>> grid = make_spectra(100, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", label_names=grid.label_names, max_steps=100, random_state=0
    ... ).fit(grid.data, grid.target)
    >>> quality = emulation_quality(emulator, grid.data, grid.target, n_bins=4)
    >>> quality.label_mae.shape, quality.worst_flux.shape
    ((5, 4), (5, 257))
    """
    check_is_fitted(emulator)
    if n_bins < 1:
        raise ValueError(f"`n_bins` must be at least 1; got {n_bins!r}.")
    if not half_width > 0:
        raise ValueError(f"`half_width` must be positive, in Å; got {half_width!r}.")
    F, predicted = np.asarray(F), emulator.predict(P)
    if F.shape != predicted.shape:
        raise ValueError(
            f"`F` must have the shape {predicted.shape}, one row for each of `P` on "
            f"the grid of the emulator; got {F.shape}."
        )
    wavelength, medium = wavelength_axis(emulator)
    residual = predicted - F
    error = np.abs(residual)
    spectrum_mae = error.mean(axis=1, dtype=np.float64)
    worst = np.argsort(-spectrum_mae, kind="stable")[:5]
    median, error_68, error_95 = np.quantile(error, [0.5, 0.6827, 0.95], axis=0)
    return Bunch(
        wavelength=wavelength,
        medium=medium,
        mean_flux=F.mean(axis=0),
        median_error=median,
        error_68=error_68,
        error_95=error_95,
        worst_error=error.max(axis=0),
        bias=residual.mean(axis=0),
        mae=float(spectrum_mae.mean()),
        rms=float(np.sqrt(np.mean(residual**2, dtype=np.float64))),
        max_error=float(error.max()),
        spectrum_mae=spectrum_mae,
        domain=emulator.domain(P),
        worst=worst,
        worst_flux=F[worst],
        worst_predicted=predicted[worst],
        **_by_label(emulator, label_array(emulator, P), spectrum_mae, n_bins),
        **_by_line(wavelength, F, residual, lines or {}, half_width),
    )


def _by_label(emulator, P, spectrum_mae, n_bins):
    """Errors in bins of each label, and of the distance to the edge of the box."""
    low, high = emulator.label_low_, emulator.label_high_
    varied = varied_labels(emulator)
    scaled = (2 * P - low - high)[:, varied] / (high - low)[varied]
    # `initial`: if no label varied, all stars are at the centre
    distance = 1 - np.abs(scaled).max(axis=1, initial=0)
    bins = [_binned(column, spectrum_mae, n_bins) for column in P[:, varied].T]
    edges, mae, median = (
        np.reshape(values, (varied.sum(), -1))
        for values in (zip(*bins, strict=True) if bins else [()] * 3)
    )
    edge_edges, edge_mae, edge_median = _binned(distance, spectrum_mae, n_bins)

    def varied_only(names):
        return [name for name, v in zip(names, varied, strict=True) if v]

    return {
        "label_names": varied_only(emulator.label_names_),
        "label_units": varied_only(emulator.label_units_),
        "label_edges": edges,
        "label_mae": mae,
        "label_median": median,
        "edge_distance": distance,
        "edge_edges": edge_edges,
        "edge_mae": edge_mae,
        "edge_median": edge_median,
    }


def _binned(x, values, n_bins):
    """Edges of bins with equally many x, and mean and median of values in each bin."""
    edges = np.quantile(x, np.linspace(0, 1, n_bins + 1))
    number = np.searchsorted(edges[1:-1], x, side="right")
    inside = [values[number == i] for i in range(n_bins)]
    # bins are empty if x has few different values
    mean = [v.mean() if len(v) else np.nan for v in inside]
    median = [np.median(v) if len(v) else np.nan for v in inside]
    return edges, np.array(mean), np.array(median)


def _by_line(wavelength, F, residual, lines, half_width):
    """Errors at single lines, and at all lines of an element."""
    rows, elements, element_mae = [], [], []
    for name, at in lines.items():
        near_any = np.zeros(len(wavelength), dtype=bool)
        for line in np.asarray(at, dtype=float).ravel():
            near = np.abs(wavelength - line) <= half_width
            if not near.any():
                continue
            near_any |= near
            error = residual[:, near]
            depth = 1 - F[:, near].min(axis=1).mean()
            rows.append((name, line, np.abs(error).mean(), error.mean(), depth))
        if near_any.any():
            elements.append(name)
            element_mae.append(np.abs(residual[:, near_any]).mean())
    keys = ("element", "wavelength", "mae", "bias", "depth")
    columns = zip(*rows, strict=True) if rows else [()] * len(keys)
    kinds = (str, *(float,) * 4)
    return {
        "element_names": elements,
        "element_mae": np.array(element_mae, dtype=float),
        **{
            f"line_{key}": np.array(column, dtype=kind)
            for key, column, kind in zip(keys, columns, kinds, strict=True)
        },
    }
