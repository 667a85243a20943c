"""MockRecoveryDisplay: bias, scatter and errors of mock stars by S/N or by label."""

import math

import numpy as np

from sk_payne.inspection._axes import (
    chosen_labels,
    chosen_snr,
    import_pyplot,
    with_unit,
)
from sk_payne.inspection._display import Display
from sk_payne.recovery import mock_recovery, recovery_table

__all__ = ["MockRecoveryDisplay"]

# Largest number of panels in a row. In inches: width of a panel, its height in a figure
# of one and of several blocks, margins of the figure, and its smallest width.
_COLUMNS = 7
_WIDTH, _HEIGHTS = 1.65, (1.4, 1.05)
_MARGINS = (0.4, 1.0)
_NARROWEST = 6.4

# Titles of more characters have two lines.
_LONG = 18

_NAMES = ("measured\n- true", "pull width", "coverage [%]")
_WIDTHS = {
    "pull_std": {"color": "C1", "marker": "s", "label": "pulls: standard deviation"},
    "pull_spread": {"color": "C3", "marker": "o", "label": "pulls: robust spread"},
}
# Expected coverage in percent, and style.
_COVERAGE = {
    "coverage_68": (68.27, {"color": "C2", "marker": "o", "label": "within 1 error"}),
    "coverage_95": (95.45, {"color": "C4", "marker": "s", "label": "within 2 errors"}),
}
_POINTS = {"ms": 3.5, "lw": 0.9, "elinewidth": 0.8}
_EXPECTED = {"color": "0.5", "lw": 0.8, "ls": "--", "zorder": 0}


class MockRecoveryDisplay(Display):
    """Bias, scatter, width of pulls, and coverage, for each parameter.

    Each parameter has three panels. The first shows the median of measured - true, a
    broad bar of one scatter to either side, and dotted lines at plus and minus the
    median estimated error, which should be at the ends of the bar. The second shows the
    widths of the pulls, which should be 1. The third shows the fractions of stars
    within 1 and 2 sigma of the truth, which should be 68 and 95 %. Thin bars are
    standard errors.

    Parameters
    ----------
    recovery : Bunch
        Result of :func:`sk_payne.recovery.mock_recovery`.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (3, n_parameters)
        Axes of bias and scatter, of pulls, and of coverage.
    figure_ : matplotlib Figure
        Figure of the last plot.

    See Also
    --------
    sk_payne.recovery.recovery_table : The numbers in the panels.
    RecoveryDisplay : Measured against true values, star by star.

    Examples
    --------
    >>> import sk_payne
    >>> from sk_payne.inspection import MockRecoveryDisplay
    >>> regressor = sk_payne.AbundanceRegressor(sk_payne.load("dwarfs-4500-4600"))
    >>> display = MockRecoveryDisplay.from_regressor(
    ...     regressor, snr=[100, 300], n_stars=3, random_state=0
    ... )
    >>> display.recovery.snr
    array([100., 300.])
    """

    def __init__(self, recovery):
        self.recovery = recovery

    @classmethod
    def from_regressor(cls, regressor, labels=None, **options):
        """Make mock stars and measure them.

        Parameters
        ----------
        regressor : AbundanceRegressor
            Fitted, or with a fitted emulator.
        labels : array-like of shape (n_stars, n_labels), default=None
            Labels of the stars; random if None.
        **options : dict
            Further arguments of :func:`sk_payne.recovery.mock_recovery`.

        Returns
        -------
        display : MockRecoveryDisplay
            The display, not drawn yet.
        """
        return cls(mock_recovery(regressor, labels, **options))

    def plot(self, ax=None, *, labels=None):
        """Draw the statistics against S/N.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, shape (3, n_labels), default=None
            If None, a new figure.
        labels : list of str, default=None
            Parameters to draw; if None, all.

        Returns
        -------
        display : MockRecoveryDisplay
            Itself.
        """
        table = recovery_table(self.recovery)
        self._draw(table, "snr", ax, labels, "S/N")
        snr = np.unique(self.recovery.snr)
        for panel in self.ax_.flat:
            panel.set_xscale("log")
            panel.set_xticks(snr, [f"{value:g}" for value in snr])
            panel.minorticks_off()
            panel.tick_params(axis="x", labelrotation=90 if len(snr) > 4 else 0)
            panel.set_xlim(snr[0] / 1.25, snr[-1] * 1.25)
        return self

    def plot_against(self, label, ax=None, *, snr=None, labels=None, n_bins=5):
        """Draw the statistics against the true value of a parameter.

        Parameters
        ----------
        label : str
            Parameter by whose true value the stars are binned; "self" bins the stars of
            each parameter by its own value.
        ax : array-like of matplotlib Axes, shape (3, n_labels), default=None
            If None, a new figure.
        snr : float, default=None
            One of the signal-to-noise ratios; if None, the largest.
        labels : list of str, default=None
            Parameters to draw; if None, all.
        n_bins : int, default=5
            Number of bins with equally many stars.

        Returns
        -------
        display : MockRecoveryDisplay
            Itself.

        Raises
        ------
        ValueError
            If `snr`, `label` or one of `labels` is not in the recovery.
        """
        snr = chosen_snr(snr, self.recovery.snr)
        table = recovery_table(self.recovery, by=label, n_bins=n_bins)
        along = "true value" if label == "self" else self._title(label)
        along = f"{along}, at S/N {snr:g}"
        self._draw(table[table["snr"] == snr], "by_median", ax, labels, along)
        return self

    def _draw(self, table, along, ax, labels, xlabel):
        """Draw the rows of each parameter against the column `along`."""
        labels = chosen_labels(labels, self.recovery.label_names)
        new = ax is None
        self._on_panels(_new_panels(len(labels), xlabel) if new else ax)
        self.ax_ = self.ax_.reshape(3, len(labels))
        self.figure_ = self.figure_.figure  # the figure that contains subfigures
        for panels, name in zip(self.ax_.T, labels, strict=True):
            rows = table[table["label"] == name]
            rows.sort(along)
            x = np.asarray(rows[along])
            title = self._title(name)
            if len(title) > _LONG:
                title = title.replace(" [", "\n[")
            panels[0].set_title(title, fontsize="medium")
            _draw_deviation(panels[0], x, rows)
            _draw_widths(panels[1], x, rows)
            _draw_coverage(panels[2], x, rows)
        _share_limits(self.ax_[1])
        if new:
            self.figure_.legend(
                handles=_legend(self.ax_[:, 0]),
                loc="outside upper center",
                ncols=4,
                fontsize="small",
            )

    def _title(self, name):
        unit = self.recovery.label_units[self.recovery.label_names.index(name)]
        return with_unit(name, unit)


def _draw_deviation(panel, x, rows):
    """Draw the bias with the scatter to either side, and the estimated error."""
    bias, scatter, error = (np.asarray(rows[n]) for n in ("bias", "scatter", "error"))
    panel.axhline(0, color="0.5", lw=0.8, zorder=0)
    panel.errorbar(
        x,
        bias,
        scatter,
        fmt="none",
        elinewidth=6,
        color="C0",
        alpha=0.25,
        label="scatter",
    )
    panel.errorbar(
        x, bias, rows["bias_error"], color="C0", marker="o", label="bias", **_POINTS
    )
    claimed = {"color": "k", "lw": 0.8, "ls": ":", "marker": "_", "ms": 7}
    panel.plot(x, error, label="error claimed", **claimed)
    panel.plot(x, -error, **claimed)
    reach = 1.15 * np.nanmax([np.abs(bias) + scatter, error], initial=1e-12)
    panel.set_ylim(-reach, reach)
    panel.locator_params(axis="y", nbins=4)
    panel.tick_params(axis="y", labelsize="x-small")


def _draw_widths(panel, x, rows):
    panel.axhline(1, **_EXPECTED, label="expected")
    for name, style in _WIDTHS.items():
        panel.errorbar(x, rows[name], rows[f"{name}_error"], **style, **_POINTS)


def _draw_coverage(panel, x, rows):
    for name, (expected, style) in _COVERAGE.items():
        panel.axhline(expected, **_EXPECTED)
        part, error = 100 * rows[name], 100 * rows[f"{name}_error"]
        panel.errorbar(x, part, error, **style, **_POINTS)
    panel.set_ylim(0, 105)
    panel.set_yticks([0, 68, 95])


def _share_limits(panels):
    """Set one logarithmic axis for all panels of widths, which holds all values."""
    values = [line.get_ydata() for panel in panels for line in panel.lines]
    values = np.concatenate([np.asarray(v, dtype=float) for v in values])
    low = min(0.5, 0.8 * np.nanmin(values[values > 0]))
    high = max(2.0, 1.25 * np.nanmax(values))
    ticks = [t for t in (0.01, 0.1, 0.5, 1, 2, 5, 10, 100) if low <= t <= high]
    for panel in panels:
        panel.set_yscale("log")
        panel.set_ylim(low, high)
        panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()


def _legend(panels):
    """Artists with a name in the panels of one parameter."""
    return [
        handle for panel in panels for handle in panel.get_legend_handles_labels()[0]
    ]


def _new_panels(n, xlabel):
    """Axes of shape (3, n), in blocks of three rows below each other."""
    n_blocks = math.ceil(n / _COLUMNS)
    columns = math.ceil(n / n_blocks)
    width = max(columns * _WIDTH + _MARGINS[0], _NARROWEST)
    height = 3 * n_blocks * _HEIGHTS[n_blocks > 1] + _MARGINS[1]
    figure = import_pyplot().figure(figsize=(width, height), layout="constrained")
    blocks = figure.subfigures(n_blocks, 1, squeeze=False)[:, 0]
    ax = np.hstack([_new_block(block, columns) for block in blocks])
    for unused in ax[:, n:].flat:
        unused.remove()
    figure.supxlabel(xlabel)
    return ax[:, :n]


def _new_block(block, columns):
    ax = block.subplots(3, columns, sharex="col", squeeze=False)
    for panels, name in zip(ax, _NAMES, strict=True):
        panels[0].set_ylabel(name, fontsize="small")
    for panel in ax[1:, 1:].flat:
        panel.tick_params(labelleft=False)
    return ax
