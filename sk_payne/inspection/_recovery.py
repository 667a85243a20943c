"""Measured labels of stars whose labels are known.

It is here because an error is only worth something if it holds.
"""

import math

import numpy as np

from sk_payne.inspection._axes import import_pyplot, with_unit
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


class RecoveryDisplay:
    """Measured against true labels, with their errors.

    Parameters
    ----------
    true, measured, error : ndarray of shape (n_stars, n_labels)
        Labels, and the standard deviations claimed for them.
    label_names : list of str
        Of the columns.
    label_units : list of str, default=None
        Of the columns.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        One panel for each label.
    figure_ : matplotlib Figure
        Both are set by :meth:`plot`.

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
        """Take a table of :meth:`sk_payne.AbundanceRegressor.measure`.

        Parameters
        ----------
        table : astropy.table.QTable
            Of n stars.
        true : array-like of shape (n_stars, n_labels)
            Their labels.
        label_names : list of str
            Columns of `true` and of the table.

        Returns
        -------
        display : RecoveryDisplay
            Not drawn yet.
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
            - "error": median of the errors claimed;
            - "bias": median of measured - true;
            - "scatter": 1.4826 times the median absolute deviation of it;
            - "pull_mean", "pull_std": mean and standard deviation of the pulls;
            - "pull_spread": 1.4826 times their median absolute deviation, which a few
              stars in a wrong valley do not change;
            - "within_1_sigma": part of the stars within one error of the truth.
        """
        found = recovery_statistics(self.true, self.measured, self.error)
        found["within_1_sigma"] = found["coverage_68"]
        return {name: found[name] for name in _SUMMARY}

    def plot(self, ax=None, *, labels=None, errorbar_kwargs=None):
        """Draw one panel for each label.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            As many as labels; if None, a new figure.
        labels : list of str, default=None
            Which labels; if None, all.
        errorbar_kwargs : dict, default=None
            For the points.

        Returns
        -------
        display : RecoveryDisplay
            Itself.
        """
        labels = self.label_names if labels is None else list(labels)
        if ax is None:
            ax = _new_panels(len(labels))
        self.ax_ = np.asarray(ax, dtype=object).ravel()
        self.figure_ = self.ax_[0].figure
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


def _new_panels(n):
    columns = min(n, 5)
    rows = math.ceil(n / columns)
    figure, ax = import_pyplot().subplots(
        rows,
        columns,
        figsize=(2.3 * columns, 2.2 * rows),
        squeeze=False,
        layout="constrained",
    )
    for unused in ax.flat[n:]:
        unused.remove()
    figure.supxlabel("true")
    figure.supylabel("measured")
    return list(ax.flat[:n])
