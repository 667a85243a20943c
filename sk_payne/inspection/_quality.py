"""Where, for which stars and in which lines an emulator is wrong.

It is here because a mean error hides the pixels and stars that decide.
"""

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from sk_payne.inspection._axes import import_pyplot, wavelength_label, with_unit
from sk_payne.inspection._emulation_error import EmulationErrorDisplay
from sk_payne.inspection._opened import varied_labels, wavelength_axis

__all__ = ["EmulationQualityDisplay", "emulation_quality"]

# Panels side by side.
_COLUMNS = 5


def emulation_quality(emulator, P, F, lines=None, *, half_width=0.1, n_bins=6):
    """Judge an emulator on spectra that it has not seen.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted.
    P : array-like of shape (n_spectra, n_labels)
        Stellar parameters.
    F : array-like of shape (n_spectra, n_wavelengths)
        True flux.
    lines : mapping of str to array-like of float, default=None
        Elements, and the wavelengths of their lines in Å, in the medium of the
        emulator; those outside its range are left out.
    half_width : float, default=0.1
        How far from its wavelength a line counts, in Å.
    n_bins : int, default=6
        Bins of each label and of the distance to the edge, with equally many spectra.

    Returns
    -------
    quality : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        wavelength : ndarray of shape (n_wavelengths,)
            Å, or pixel numbers.
        medium : {"air", "vacuum"} or None
            Of the wavelengths; None for pixels.
        mean_flux : ndarray of shape (n_wavelengths,)
            Mean of the true spectra.
        median_error, error_68, error_95, worst_error : ndarray of (n_wavelengths,)
            Quantiles of the absolute error over spectra, and its maximum.
        bias : ndarray of shape (n_wavelengths,)
            Mean of predicted - true.
        mae, rms, max_error : float
            Over spectra and wavelengths.
        spectrum_mae : ndarray of shape (n_spectra,)
            Mean absolute error of every spectrum.
        domain : ndarray of shape (n_spectra,), str
            "inside", "edge" or "outside", see :meth:`SpectrumEmulator.domain`.
        worst : ndarray of shape (at most 5,), int
            Rows of the spectra with the largest `spectrum_mae`, the worst first.
        worst_flux, worst_predicted : ndarray of shape (at most 5, n_wavelengths)
            Their true flux and what was predicted.
        label_names, label_units : list of str
            Of the labels that varied in training.
        label_edges : ndarray of shape (n_varied, n_bins + 1)
            Edges of the bins of each label.
        label_mae : ndarray of shape (n_varied, n_bins)
            Mean of `spectrum_mae` in them.
        edge_distance : ndarray of shape (n_spectra,)
            From the nearest face of the training box, in half widths of the box: 1 is
            its middle, negative is outside.
        edge_edges : ndarray of shape (n_bins + 1,)
            Edges of the bins of the distance.
        edge_mae : ndarray of shape (n_bins,)
            Mean of `spectrum_mae` in them.
        line_element : ndarray of shape (n_lines,), str
            Element of every line.
        line_wavelength, line_mae, line_bias, line_depth : ndarray of shape (n_lines,)
            Å; mean absolute error, mean of predicted - true, and mean depth of the
            true spectra, over pixels within `half_width`.
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
    emulator_report : A page with all of it.

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
        **_by_label(emulator, np.asarray(P, dtype=float), spectrum_mae, n_bins),
        **_by_line(wavelength, F, residual, lines or {}, half_width),
    )


def _by_label(emulator, P, spectrum_mae, n_bins):
    """Errors against labels, and towards the edges of the box."""
    low, high = emulator.label_low_, emulator.label_high_
    varied = varied_labels(emulator)
    scaled = (2 * P - low - high)[:, varied] / (high - low)[varied]
    # without a label that varied there is no edge
    distance = 1 - np.abs(scaled).max(axis=1, initial=0)
    bins = [_binned(column, spectrum_mae, n_bins) for column in P[:, varied].T]
    shape = (varied.sum(), -1)
    edge_edges, edge_mae = _binned(distance, spectrum_mae, n_bins)

    def of_varied(names):
        return [name for name, v in zip(names, varied, strict=True) if v]

    return {
        "label_names": of_varied(emulator.label_names_),
        "label_units": of_varied(emulator.label_units_),
        "label_edges": np.reshape([edges for edges, _ in bins], shape),
        "label_mae": np.reshape([mae for _, mae in bins], shape),
        "edge_distance": distance,
        "edge_edges": edge_edges,
        "edge_mae": edge_mae,
    }


def _binned(x, values, n_bins):
    """Edges of bins with equally many x, and the means of values in them."""
    edges = np.quantile(x, np.linspace(0, 1, n_bins + 1))
    number = np.searchsorted(edges[1:-1], x, side="right")
    count = np.bincount(number, minlength=n_bins)
    total = np.bincount(number, values, minlength=n_bins)
    # a label with few values leaves bins empty
    return edges, np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _by_line(wavelength, F, residual, lines, half_width):
    """Errors at single lines, and at all lines of an element."""
    found, elements, element_mae = [], [], []
    for name, at in lines.items():
        of_element = np.zeros(len(wavelength), dtype=bool)
        for line in np.asarray(at, dtype=float).ravel():
            near = np.abs(wavelength - line) <= half_width
            if not near.any():
                continue
            of_element |= near
            error = residual[:, near]
            depth = 1 - F[:, near].min(axis=1).mean()
            found.append((name, line, np.abs(error).mean(), error.mean(), depth))
        if of_element.any():
            elements.append(name)
            element_mae.append(np.abs(residual[:, of_element]).mean())
    keys = ("element", "wavelength", "mae", "bias", "depth")
    columns = zip(*found, strict=True) if found else [()] * len(keys)
    kinds = (str, *(float,) * 4)
    return {
        "element_names": elements,
        "element_mae": np.array(element_mae, dtype=float),
        **{
            f"line_{key}": np.array(column, dtype=kind)
            for key, column, kind in zip(keys, columns, kinds, strict=True)
        },
    }


class EmulationQualityDisplay:
    """Errors of an emulator against wavelength, labels and lines, and its worst stars.

    Parameters
    ----------
    quality : Bunch
        From :func:`emulation_quality`.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        What the last method drew on.
    figure_ : matplotlib Figure
        Of these axes.

    See Also
    --------
    EmulationErrorDisplay : Median and 95 % only, with a linear axis.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import EmulationQualityDisplay
    >>> grid = make_spectra(100, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", label_names=grid.label_names, max_steps=100, random_state=0
    ... ).fit(grid.data, grid.target)
    >>> display = EmulationQualityDisplay.from_estimator(
    ...     emulator, grid.data, grid.target
    ... )
    >>> len(display.quality.worst)
    5
    """

    def __init__(self, quality):
        self.quality = quality

    @classmethod
    def from_estimator(cls, emulator, P, F, lines=None, **options):
        """Judge an emulator.

        Parameters
        ----------
        emulator : SpectrumEmulator
            Fitted.
        P : array-like of shape (n_spectra, n_labels)
            Stellar parameters.
        F : array-like of shape (n_spectra, n_wavelengths)
            True flux.
        lines : mapping of str to array-like of float, default=None
            As in :func:`emulation_quality`.
        **options : dict
            For :func:`emulation_quality`.

        Returns
        -------
        display : EmulationQualityDisplay
            Not drawn yet.
        """
        return cls(emulation_quality(emulator, P, F, lines, **options))

    def plot(self, ax=None):
        """Draw the mean spectrum and, below, quantiles of the error.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, default=None
            If None, a new figure.

        Returns
        -------
        display : EmulationQualityDisplay
            Itself.
        """
        q = self.quality
        display = EmulationErrorDisplay(
            wavelength=q.wavelength,
            mean_flux=q.mean_flux,
            median_error=q.median_error,
            high_error=q.error_95,
            mae=q.mae,
            medium=q.medium,
        ).plot(ax=ax)
        self._keep(display.ax_)
        below = self.ax_[1]
        below.plot(q.wavelength, q.error_68, color="k", lw=0.5, label="68 %")
        below.plot(q.wavelength, q.worst_error, color="C3", lw=0.5, label="worst")
        below.set_yscale("log")
        positive = q.median_error[q.median_error > 0]
        lowest = np.quantile(positive, 0.01) if len(positive) else 1e-6
        # room for the legend above the worst
        below.set_ylim(lowest / 2, max(q.max_error, lowest) * 30)
        below.legend(
            loc="upper right", ncols=4, title=f"mean absolute error {q.mae:.4f}"
        )
        return self

    def plot_labels(self, ax=None):
        """Draw the error in bins of every label, and towards the edges of the box.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, default=None
            One more than labels that varied. If None, a new figure.

        Returns
        -------
        display : EmulationQualityDisplay
            Itself.
        """
        q = self.quality
        panels = [
            (with_unit(name, unit), edges, mae)
            for name, unit, edges, mae in zip(
                q.label_names, q.label_units, q.label_edges, q.label_mae, strict=True
            )
        ]
        panels.append(("distance to the edge", q.edge_edges, q.edge_mae))
        self._keep(_new_panels(len(panels)) if ax is None else ax)
        highest = np.nanmax([np.nanmax(mae) for _, _, mae in panels])
        for panel, (title, edges, mae) in zip(self.ax_, panels, strict=True):
            panel.stairs(mae, edges, color="C0", lw=1.4)
            panel.axhline(q.mae, color="0.6", lw=0.8, ls="--", zorder=0)
            panel.set_ylim(0, 1.1 * highest)
            panel.set_title(title, fontsize="small")
            panel.tick_params(labelsize="x-small")
            panel.locator_params(axis="x", nbins=4)
        if ax is None:
            self.figure_.supylabel("mean absolute error", fontsize="medium")
        return self

    def plot_lines(self, ax=None):
        """Draw the error of every line against its depth, and of every element.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, default=None
            If None, a new figure.

        Returns
        -------
        display : EmulationQualityDisplay
            Itself.

        Raises
        ------
        ValueError
            If no lines were given.
        """
        q = self.quality
        if not len(q.element_names):
            raise ValueError(
                "`quality` must have lines; got none within the range. Pass `lines=` "
                "to emulation_quality."
            )
        if ax is None:
            width = 5 + 0.3 * len(q.element_names) + 0.8
            _, ax = import_pyplot().subplots(
                *(1, 2),
                figsize=(width, 3.4),
                width_ratios=(4, 0.3 * len(q.element_names) + 0.8),
                layout="constrained",
            )
        self._keep(ax)
        lines, elements = self.ax_
        for i, name in enumerate(q.element_names):
            mine = q.line_element == name
            lines.plot(
                *(q.line_depth[mine], q.line_mae[mine]),
                "os^D"[i // 10 % 4],
                ms=4,
                color=f"C{i % 10}",
                label=name,
            )
        lines.set(xlabel="mean depth of a line", ylabel="mean absolute error")
        lines.set_ylim(0, None)
        lines.legend(fontsize="xx-small", ncols=2)
        order = np.argsort(-q.element_mae)
        elements.bar(range(len(order)), q.element_mae[order], color="C0")
        names = [q.element_names[i] for i in order]
        elements.set_xticks(range(len(order)), names, rotation=90)
        elements.axhline(q.mae, color="0.4", lw=0.8, ls="--")
        elements.set_title("at lines; dashed: everywhere", fontsize="small")
        return self

    def plot_worst(self, ax=None):
        """Draw the worst spectra, true and predicted.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            At most five, the first for the worst. If None, a new figure with three.

        Returns
        -------
        display : EmulationQualityDisplay
            Itself.
        """
        q = self.quality
        if ax is None:
            n = min(3, len(q.worst))
            _, ax = import_pyplot().subplots(
                *(n, 1),
                sharex=True,
                squeeze=False,
                figsize=(9, 1.5 * n + 0.8),
                layout="constrained",
            )
        self._keep(ax)
        for panel, row, true, predicted in zip(
            self.ax_, q.worst, q.worst_flux, q.worst_predicted, strict=False
        ):
            panel.plot(q.wavelength, true, color="0.65", lw=1.6, label="true")
            panel.plot(q.wavelength, predicted, color="C3", lw=0.6, label="predicted")
            panel.plot(
                q.wavelength, predicted - true, color="C0", lw=0.6, label="difference"
            )
            panel.set_title(
                f"row {row} ({q.domain[row]}): {q.spectrum_mae[row]:.4f}",
                fontsize="small",
                loc="left",
            )
            panel.set_ylabel("flux")
            panel.margins(x=0)
        self.ax_[0].legend(
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=3,
            fontsize="small",
            frameon=False,
        )
        self.ax_[-1].set_xlabel(wavelength_label(q.medium))
        return self

    def _keep(self, ax):
        self.ax_ = np.asarray(ax, dtype=object).ravel()
        self.figure_ = self.ax_[0].figure


def _new_panels(n):
    columns = min(n, _COLUMNS)
    rows = -(-n // columns)
    _, ax = import_pyplot().subplots(
        *(rows, columns),
        sharey=True,
        squeeze=False,
        figsize=(1.9 * columns + 0.5, 1.5 * rows + 0.3),
        layout="constrained",
    )
    for unused in ax.flat[n:]:
        unused.remove()
    return ax.flat[:n]
