"""RecoveryDisplay: measured against true labels of stars."""

import numpy as np

from sk_payne.inspection._axes import new_panels, with_unit
from sk_payne.inspection._display import Display
from sk_payne.recovery import recovery_statistics

__all__ = ["RecoveryDisplay"]

_SUMMARY = (
    "error",
    "bias",
    "scatter",
    "pull_mean",
    "pull_std",
    "pull_spread",
    "within_1_sigma",
)


class RecoveryDisplay(Display):
    """Measured against true labels, with error bars.

    Parameters
    ----------
    true, measured, error : ndarray of shape (n_stars, n_labels)
        True labels, measured labels, and their estimated 1 sigma errors.
    label_names : list of str
        Names of the labels.
    label_units : list of str, default=None
        Units of the labels.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        One panel for each label.
    figure_ : matplotlib Figure
        Figure of the plot; :meth:`plot` sets both.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.inspection import RecoveryDisplay
    >>> true = np.zeros((3, 1))
    >>> measured = np.array([[1.0], [-1.0], [3.0]])
    >>> display = RecoveryDisplay(true=true, measured=measured, error=np.ones((3, 1)),
    ...                           label_names=["Fe_H"])
    >>> display.summary()["scatter"]
    array([2.9652])
    """

    def __init__(self, *, true, measured, error, label_names, label_units=None):
        self.true = np.asarray(true, dtype=float)
        self.measured = np.asarray(measured, dtype=float)
        self.error = np.asarray(error, dtype=float)
        self.label_names = list(label_names)
        self.label_units = list(label_units or [""] * len(self.label_names))

    @classmethod
    def from_table(cls, table, true, label_names):
        """Make a display of a table from :meth:`sk_payne.AbundanceRegressor.measure`.

        Parameters
        ----------
        table : astropy.table.QTable
            Measured stars, one in each row.
        true : array-like of shape (n_stars, n_labels)
            True labels of the stars.
        label_names : list of str
            Names of the columns of `true`, which are also columns of the table.

        Returns
        -------
        display : RecoveryDisplay
            The display, not drawn yet.
        """

        def values(suffix):
            columns = [table[name + suffix] for name in label_names]
            return np.array([getattr(c, "value", c) for c in columns]).T

        return cls(
            true=true,
            measured=values(""),
            error=values("_error"),
            label_names=label_names,
            label_units=[str(getattr(table[n], "unit", "")) for n in label_names],
        )

    @property
    def pulls(self):
        """(measured - true) / error, of shape (n_stars, n_labels)."""
        return (self.measured - self.true) / self.error

    def summary(self):
        """Statistics of each label over the stars that were measured.

        Returns
        -------
        summary : dict of str to ndarray of shape (n_labels,)
            - "error": median of the estimated 1 sigma errors;
            - "bias": median of measured - true;
            - "scatter": 1.4826 times the median absolute deviation of measured - true;
            - "pull_mean", "pull_std": mean and standard deviation of the pulls;
            - "pull_spread": 1.4826 times the median absolute deviation of the pulls,
              which a few outliers do not change;
            - "within_1_sigma": fraction of the stars within 1 sigma of the truth.
        """
        statistics = recovery_statistics(self.true, self.measured, self.error)
        statistics["within_1_sigma"] = statistics["coverage_68"]
        return {name: statistics[name] for name in _SUMMARY}

    def plot(self, ax=None, *, labels=None, errorbar_kwargs=None):
        """Draw one panel for each label.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Axes for each label. If None, a new figure.
        labels : list of str, default=None
            Labels to draw; if None, all.
        errorbar_kwargs : dict, default=None
            Style of the points.

        Returns
        -------
        display : RecoveryDisplay
            Itself.
        """
        labels = self.label_names if labels is None else list(labels)
        if ax is None:
            figure, ax = new_panels(len(labels), 5, (2.3, 2.2))
            figure.supxlabel("true")
            figure.supylabel("measured")
        self._on_panels(ax)
        style = {"fmt": ".", "ms": 4, "lw": 0.7, "alpha": 0.7} | (errorbar_kwargs or {})
        summary = self.summary()
        for panel, name in zip(self.ax_, labels, strict=True):
            i = self.label_names.index(name)
            ends = np.nanmin(self.true[:, i]), np.nanmax(self.true[:, i])
            panel.plot(ends, ends, color="0.6", lw=0.8, zorder=0)
            panel.errorbar(
                self.true[:, i], self.measured[:, i], self.error[:, i], **style
            )
            margin = 0.15 * (ends[1] - ends[0])
            panel.set_ylim(ends[0] - margin, ends[1] + margin)
            title = with_unit(name, self.label_units[i])
            panel.set_title(title, fontsize="medium")
            panel.text(
                0.04,
                0.95,
                f"scatter {summary['scatter'][i]:.3g}",
                transform=panel.transAxes,
                va="top",
                fontsize="small",
            )
        return self
