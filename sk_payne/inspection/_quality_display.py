"""EmulationQualityDisplay: pictures of the errors of an emulator."""

import numpy as np

from sk_payne.inspection._axes import (
    broken_lines,
    legend_above,
    new_panels,
    wavelength_label,
    with_unit,
)
from sk_payne.inspection._display import BunchDisplay
from sk_payne.inspection._emulation_error import EmulationErrorDisplay
from sk_payne.inspection._quality import emulation_quality

__all__ = ["EmulationQualityDisplay"]

# Largest number of lines with a name, and width and height of a name as fractions of
# the axes.
_NAMED, _NAME = 5, (0.14, 0.05)


class EmulationQualityDisplay(BunchDisplay):
    """Errors of an emulator against wavelength, labels and lines, and worst spectra.

    Parameters
    ----------
    quality : Bunch
        Result of :func:`emulation_quality`.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        Axes of the last plot.
    figure_ : matplotlib Figure
        Figure of the last plot.
    names_ : list of matplotlib Text
        Names of the worst lines; set by :meth:`plot_lines`.

    See Also
    --------
    EmulationErrorDisplay : Median and 95 % quantile only, with a linear axis.

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

    _compute = staticmethod(emulation_quality)

    def __init__(self, quality):
        self.quality = quality

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
        _, below = self._on_panels(display.ax_)
        (median,), (high,) = below.lines, below.collections
        x, worst_error, error_68 = broken_lines(q.wavelength, q.worst_error, q.error_68)
        (worst,) = below.plot(
            *(x, worst_error), color="C3", lw=0.5, zorder=1, label="worst"
        )
        (one_sigma,) = below.plot(x, error_68, color="k", lw=0.5, label="68 %")
        below.set_yscale("log")
        positive = q.median_error[q.median_error > 0]
        lowest = np.quantile(positive, 0.01) if len(positive) else 1e-6
        below.set_ylim(lowest / 2, max(q.max_error, lowest) * 1.5)
        below.set_title(
            f"mean absolute error {q.mae:.4f}", fontsize="medium", loc="left"
        )
        legend_above(below, ncols=4, handles=[median, one_sigma, high, worst])
        return self

    def plot_labels(self, ax=None):
        """Draw the error in bins of every label, and towards the edges of the box.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, default=None
            Axes for each label that varied, and one more. If None, a new figure.

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
        new = ax is None
        if new:
            _, ax = new_panels(len(panels), 5, (1.9, 1.5), (0.5, 0.3), sharey=True)
        self._on_panels(ax)
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
        if new:
            self.figure_.supylabel("mean absolute error", fontsize="medium")
        return self

    def plot_lines(self, ax=None):
        """Draw the error of each line against its depth, and of each element.

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
        width = 0.3 * len(q.element_names) + 0.8
        lines, elements = self._on_panels(
            *(ax, 1, 2), figsize=(5 + width, 3.4), width_ratios=(4, width)
        )
        for i, name in enumerate(q.element_names):
            own = q.line_element == name
            lines.plot(
                *(q.line_depth[own], q.line_mae[own]),
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
            Two axes, for flux and difference, for each of at most five spectra, the
            worst first. If None, a new figure with three spectra.

        Returns
        -------
        display : EmulationQualityDisplay
            Itself.
        """
        q = self.quality
        n = min(3, len(q.worst))
        self._on_panels(
            *(ax, 2 * n),
            sharex=True,
            figsize=(9, 2.1 * n + 0.7),
            height_ratios=(2, 1) * n,
        )
        above, below = self.ax_[::2], self.ax_[1::2]
        difference = (q.worst_predicted - q.worst_flux)[: len(below)]
        x, flux, predicted, broken = broken_lines(
            q.wavelength, q.worst_flux, q.worst_predicted, difference
        )
        for panel, row, true, model in zip(
            above, q.worst, flux, predicted, strict=False
        ):
            panel.plot(x, true, color="0.65", lw=1.6, label="true")
            panel.plot(x, model, color="C3", lw=0.6, label="predicted")
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
        legend_above(above[0], ncols=2)
        self.ax_[-1].set_xlabel(wavelength_label(q.medium))
        return self

    def _name_worst_lines(self, ax):
        """Write the names of the lines with the largest errors, without overlaps."""
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
