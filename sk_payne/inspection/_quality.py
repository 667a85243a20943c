"""Where, for which stars and in which lines an emulator is wrong.

It is here because a mean error hides the pixels and stars that decide.
"""

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from sk_payne.inspection._axes import (
    broken_lines,
    import_pyplot,
    wavelength_label,
    with_unit,
)
from sk_payne.inspection._emulation_error import EmulationErrorDisplay
from sk_payne.inspection._opened import varied_labels, wavelength_axis

__all__ = ["EmulationQualityDisplay", "emulation_quality"]

# Panels side by side.
_COLUMNS = 5

# Lines that are named in a figure, at most, and width and height of a name, in parts of
# the axes.
_NAMED, _NAME = 5, (0.14, 0.05)


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
        label_mae, label_median : ndarray of shape (n_varied, n_bins)
            Mean and median of `spectrum_mae` in them: a few bad spectra lift the mean.
        edge_distance : ndarray of shape (n_spectra,)
            From the nearest face of the training box, in half widths of the box: 1 is
            its middle, negative is outside.
        edge_edges : ndarray of shape (n_bins + 1,)
            Edges of the bins of the distance.
        edge_mae, edge_median : ndarray of shape (n_bins,)
            Mean and median of `spectrum_mae` in them.
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
    edges, mae, median = (
        np.reshape(values, (varied.sum(), -1))
        for values in (zip(*bins, strict=True) if bins else [()] * 3)
    )
    edge_edges, edge_mae, edge_median = _binned(distance, spectrum_mae, n_bins)

    def of_varied(names):
        return [name for name, v in zip(names, varied, strict=True) if v]

    return {
        "label_names": of_varied(emulator.label_names_),
        "label_units": of_varied(emulator.label_units_),
        "label_edges": edges,
        "label_mae": mae,
        "label_median": median,
        "edge_distance": distance,
        "edge_edges": edge_edges,
        "edge_mae": edge_mae,
        "edge_median": edge_median,
    }


def _binned(x, values, n_bins):
    """Edges of bins with equally many x, and means and medians of values in them."""
    edges = np.quantile(x, np.linspace(0, 1, n_bins + 1))
    number = np.searchsorted(edges[1:-1], x, side="right")
    inside = [values[number == i] for i in range(n_bins)]
    # a label with few values leaves bins empty
    mean = [v.mean() if len(v) else np.nan for v in inside]
    median = [np.median(v) if len(v) else np.nan for v in inside]
    return edges, np.array(mean), np.array(median)


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
    names_ : list of matplotlib Text
        Of the worst lines; set by :meth:`plot_lines`.

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
        (middle,), (high,) = below.lines, below.collections
        worst = {"color": "C3", "lw": 0.5, "zorder": 1, "label": "worst"}
        x, worst_error, error_68 = broken_lines(q.wavelength, q.worst_error, q.error_68)
        (worst,) = below.plot(x, worst_error, **worst)
        (most,) = below.plot(x, error_68, color="k", lw=0.5, label="68 %")
        below.set_yscale("log")
        positive = q.median_error[q.median_error > 0]
        lowest = np.quantile(positive, 0.01) if len(positive) else 1e-6
        below.set_ylim(lowest / 2, max(q.max_error, lowest) * 1.5)
        below.set_title(
            f"mean absolute error {q.mae:.4f}", fontsize="medium", loc="left"
        )
        _legend_above(below, 4, handles=[middle, most, high, worst])
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
        names = [*map(with_unit, q.label_names, q.label_units)]
        panels = [*zip(names, q.label_edges, q.label_mae, q.label_median, strict=True)]
        panels.append(
            ("distance to the edge [½ box]", q.edge_edges, q.edge_mae, q.edge_median)
        )
        self._keep(_new_panels(len(panels)) if ax is None else ax)
        highest = np.nanmax([np.nanmax(mae) for _, _, mae, _ in panels])
        for panel, (title, edges, mae, median) in zip(self.ax_, panels, strict=True):
            panel.stairs(mae, edges, color="C0", lw=1.4, label="mean")
            panel.stairs(
                median, edges, baseline=None, color="C1", lw=1.4, label="median"
            )
            panel.axhline(q.mae, color="0.6", lw=0.8, ls="--", zorder=0)
            panel.set_ylim(0, 1.1 * highest)
            panel.set_title(title, fontsize="small")
            panel.tick_params(labelsize="x-small")
            panel.locator_params(axis="x", nbins=4)
        self.ax_[0].legend(fontsize="x-small", frameon=False)
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
        lines.set_ylim(0, 1.1 * q.line_mae.max())
        lines.legend(
            loc="upper left",
            bbox_to_anchor=(1, 1.02),
            fontsize="x-small",
            ncols=1 + len(q.element_names) // 17,
            handletextpad=0,
            frameon=False,
        )
        self.names_ = self._name_worst_lines(lines)
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
            Two for each of at most five spectra, the worst first: of the flux and of
            the difference. If None, a new figure with three spectra.

        Returns
        -------
        display : EmulationQualityDisplay
            Itself.
        """
        q = self.quality
        if ax is None:
            n = min(3, len(q.worst))
            _, ax = import_pyplot().subplots(
                *(2 * n, 1),
                sharex=True,
                squeeze=False,
                figsize=(9, 2.1 * n + 0.7),
                height_ratios=(2, 1) * n,
                layout="constrained",
            )
        self._keep(ax)
        above, below = self.ax_[::2], self.ax_[1::2]
        difference = (q.worst_predicted - q.worst_flux)[: len(below)]
        x, flux, predicted, broken = broken_lines(
            q.wavelength, q.worst_flux, q.worst_predicted, difference
        )
        for panel, row, true, found in zip(
            above, q.worst, flux, predicted, strict=False
        ):
            panel.plot(x, true, color="0.65", lw=1.6, label="true")
            panel.plot(x, found, color="C3", lw=0.6, label="predicted")
            panel.set_title(
                f"row {row}, {q.domain[row]}: mean absolute error "
                f"{q.spectrum_mae[row]:.4f}",
                fontsize="small",
                loc="left",
            )
            panel.set_ylabel("flux")
        for panel, row in zip(below, broken, strict=False):
            panel.axhline(0, color="0.7", lw=0.6, zorder=0)
            panel.plot(x, row, color="C0", lw=0.6)
            panel.set_ylabel("predicted\n− true", fontsize="small")
            panel.set_ylim(*(np.abs(difference).max() * 1.1 * np.array([-1, 1])))
        for panel in self.ax_:
            panel.margins(x=0)
        self.figure_.align_ylabels(self.ax_)
        _legend_above(above[0], 2)
        self.ax_[-1].set_xlabel(wavelength_label(q.medium))
        return self

    def _name_worst_lines(self, ax):
        """Name the lines with the largest errors, but none on top of another."""
        from matplotlib.patheffects import withStroke

        q, names, taken = self.quality, [], []
        (left, right), (_, top) = ax.get_xlim(), ax.get_ylim()
        for i in np.argsort(-q.line_mae):
            x, y = (q.line_depth[i] - left) / (right - left), q.line_mae[i] / top
            side = 1 if x + _NAME[0] < 1 else -1
            low, high = sorted((x, x + side * _NAME[0]))
            if any(low < h and high > l and abs(y - v) < _NAME[1] for l, h, v in taken):
                continue
            taken.append((low, high, y))
            text = f" {q.line_element[i]} {q.line_wavelength[i]:.0f} "
            name = ax.text(
                *(q.line_depth[i], q.line_mae[i]),
                text,
                fontsize="x-small",
                ha="left" if side > 0 else "right",
                va="center",
                path_effects=[withStroke(linewidth=2, foreground="w")],
            )
            names.append(name)
            if len(names) == _NAMED:
                break
        return names

    def _keep(self, ax):
        self.ax_ = np.asarray(ax, dtype=object).ravel()
        self.figure_ = self.ax_[0].figure


def _legend_above(ax, ncols, **options):
    """Put a legend where it hides nothing."""
    ax.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=ncols,
        fontsize="small",
        frameon=False,
        **options,
    )


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
