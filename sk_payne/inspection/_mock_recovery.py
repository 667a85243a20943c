"""Whether the errors of measured stars hold, against S/N or against a label.

It is here because a wrong error is seen at a glance, where a table hides it.
"""

import math

import numpy as np

from sk_payne.inspection._axes import chosen_labels, import_pyplot, with_unit
from sk_payne.recovery import mock_recovery, recovery_table

__all__ = ["MockRecoveryDisplay"]

# Panels side by side at most. In inches: width of a panel with what is around it, its
# height in a figure of one and of several blocks, and what is around all of them.
_COLUMNS = 7
_WIDTH, _HEIGHTS = 1.65, (1.4, 1.05)
_AROUND = (0.4, 1.0)
_NARROWEST = 6.4

# Characters from which on a title needs two lines.
_LONG = 18

_NAMES = ("measured\n- true", "pull width", "coverage [%]")
_WIDTHS = {
    "pull_std": {"color": "C1", "marker": "s", "label": "pulls: standard deviation"},
    "pull_spread": {"color": "C3", "marker": "o", "label": "pulls: robust spread"},
}
# With the part that is expected, as a percentage.
_COVERAGE = {
    "coverage_68": (68.27, {"color": "C2", "marker": "o", "label": "within 1 error"}),
    "coverage_95": (95.45, {"color": "C4", "marker": "s", "label": "within 2 errors"}),
}
_POINTS = {"ms": 3.5, "lw": 0.9, "elinewidth": 0.8}
_EXPECTED = {"color": "0.5", "lw": 0.8, "ls": "--", "zorder": 0}


class MockRecoveryDisplay:
    """Bias, scatter, width of pulls, and coverage, for each parameter.

    Three panels for each parameter. The first has the median of measured - true, a
    broad bar one scatter long on either side of it, and the median error claimed as
    dotted lines, which should be at its ends. The second has the widths of the pulls,
    which should be 1; the third the part of the stars within one and two errors of the
    truth, which should be 68 and 95 %. Thin bars are standard errors.

    Parameters
    ----------
    recovery : Bunch
        From :func:`sk_payne.recovery.mock_recovery`.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (3, n_parameters)
        Of bias and scatter, of pulls, and of coverage.
    figure_ : matplotlib Figure
        Both are set by :meth:`plot` and :meth:`plot_against`.

    See Also
    --------
    sk_payne.recovery.recovery_table : The numbers.
    RecoveryDisplay : Measured against true values, star by star.

    Examples
    --------
    >>> from sk_payne import AbundanceRegressor, SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import MockRecoveryDisplay
    >>> grid = make_spectra(300, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
    ...     label_names=grid.label_names, label_units=grid.label_units,
    ...     max_steps=400, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> display = MockRecoveryDisplay.from_regressor(
    ...     AbundanceRegressor(emulator), n_stars=20, random_state=0
    ... )
    >>> display.recovery.snr
    array([ 50., 100., 300.])
    """

    def __init__(self, recovery):
        self.recovery = recovery

    @classmethod
    def from_regressor(cls, regressor, labels=None, **options):
        """Make mock stars and measure them.

        Parameters
        ----------
        regressor : AbundanceRegressor
            Fitted, or around a fitted emulator.
        labels : array-like of shape (n_stars, n_labels), default=None
            Of the stars; drawn if None.
        **options : dict
            For :func:`sk_payne.recovery.mock_recovery`.

        Returns
        -------
        display : MockRecoveryDisplay
            Not drawn yet.
        """
        return cls(mock_recovery(regressor, labels, **options))

    def plot(self, ax=None, *, labels=None):
        """Draw the statistics against S/N.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, shape (3, n_labels), default=None
            If None, a new figure.
        labels : list of str, default=None
            Which parameters; if None, all.

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
            Parameter whose value sorts the stars into bins; "self" for each parameter's
            own.
        ax : array-like of matplotlib Axes, shape (3, n_labels), default=None
            If None, a new figure.
        snr : float, default=None
            One of the signal-to-noise ratios; if None, the largest.
        labels : list of str, default=None
            Which parameters; if None, all.
        n_bins : int, default=5
            Bins with as many stars each.

        Returns
        -------
        display : MockRecoveryDisplay
            Itself.

        Raises
        ------
        ValueError
            If there are no stars of that `snr`, or no such parameter.
        """
        snr = max(self.recovery.snr) if snr is None else snr
        if snr not in self.recovery.snr:
            raise ValueError(
                f"`snr` must be one of {self.recovery.snr.tolist()}; got {snr}."
            )
        table = recovery_table(self.recovery, by=label, n_bins=n_bins)
        along = "true value" if label == "self" else self._title(label)
        along = f"{along}, at S/N {snr:g}"
        self._draw(table[table["snr"] == snr], "by_median", ax, labels, along)
        return self

    def _draw(self, table, along, ax, labels, xlabel):
        """Draw the rows of each parameter."""
        labels = chosen_labels(labels, self.recovery.label_names)
        new = ax is None
        ax = _new_panels(len(labels), xlabel) if new else ax
        self.ax_ = np.asarray(ax, dtype=object).reshape(3, len(labels))
        self.figure_ = self.ax_[0, 0].figure.figure  # not the part of a block
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
    """Bias with the scatter on either side of it, and the error claimed."""
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
    """Give panels of widths one logarithmic axis that holds everything."""
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
    """Artists of one parameter's panels that have a name."""
    return [
        handle for panel in panels for handle in panel.get_legend_handles_labels()[0]
    ]


def _new_panels(n, xlabel):
    """Axes of shape (3, n), in blocks of three rows below each other."""
    n_blocks = math.ceil(n / _COLUMNS)
    columns = math.ceil(n / n_blocks)
    width = max(columns * _WIDTH + _AROUND[0], _NARROWEST)
    height = 3 * n_blocks * _HEIGHTS[n_blocks > 1] + _AROUND[1]
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
