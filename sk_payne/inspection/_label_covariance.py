"""LabelCovarianceDisplay: covariance of the labels of one star."""

import copy

import numpy as np

from sk_payne.inspection._axes import (
    chosen_labels,
    draw_matrix,
    import_pyplot,
    with_error,
    with_unit,
)
from sk_payne.inspection._display import Display
from sk_payne.spectra import as_spectra

__all__ = ["LabelCovarianceDisplay"]

# Sizes in inches: a panel for few labels and for more than `_MANY`, a number in a
# matrix, and the margins for names and ticks.
_PANELS, _MANY = (1.6, 0.9), 8
_CELL = 0.42
_MARGIN = 0.8

# Angles of the points of an ellipse, and points of a Gaussian in standard deviations.
_ANGLES = np.linspace(0, 2 * np.pi, 181)
_CURVE = np.linspace(-4, 4, 161)

# Smallest number of samples that are drawn as a histogram instead of points.
_MANY_SAMPLES = 300

_SAMPLES = "0.6"
_HISTOGRAM = {"bins": 30, "color": _SAMPLES, "histtype": "stepfilled"}
_GAUSSIAN = {"color": "C0", "lw": 1.0}
_TRUE = {"color": "C3", "lw": 0.8}


class LabelCovarianceDisplay(Display):
    """Covariance of the labels of one star, as ellipses or as a matrix.

    Ellipses are curves of equal density of the marginal Gaussian of two labels, at 1
    and 2 standard deviations from its centre. They contain 39.3 % and 86.5 % of the
    probability, not 68 and 95 %. Their projections on an axis reach 1 and 2 sigma to
    either side.

    Parameters
    ----------
    values : array-like of shape (n_labels,)
        Labels of the star.
    covariance : array-like of shape (n_labels, n_labels)
        Covariance of the labels.
    label_names : list of str
        Names of the labels.
    label_units : list of str, default=None
        Units of the labels.
    samples : array-like of shape (n_samples, n_labels), default=None
        Samples of a posterior distribution, for comparison.
    true : array-like of shape (n_labels,), default=None
        True values, to be marked.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (n_labels, n_labels), or matplotlib Axes
        Axes of the panels drawn by :meth:`plot`, None above the diagonal; axes of the
        matrix drawn by :meth:`plot_correlation`.
    figure_ : matplotlib Figure
        Figure of the last plot.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.inspection import LabelCovarianceDisplay
    >>> display = LabelCovarianceDisplay(
    ...     [5000.0, 0.1], [[400.0, 0.3], [0.3, 0.0009]], ["teff", "Fe_H"], ["K", "dex"]
    ... )
    >>> display.correlation
    array([[1. , 0.5],
           [0.5, 1. ]])
    >>> x, y = display.ellipse("teff", "Fe_H")
    >>> print(f"{x.max():.0f} {y.max():.2f}")
    5020 0.13
    """

    def __init__(
        self,
        values,
        covariance,
        label_names,
        label_units=None,
        *,
        samples=None,
        true=None,
    ):
        self.values = np.asarray(values, dtype=float)
        self.covariance = np.asarray(covariance, dtype=float)
        self.label_names = list(label_names)
        self.label_units = list(label_units or [""] * len(self.label_names))
        self.samples = None if samples is None else np.asarray(samples, dtype=float)
        self.true = None if true is None else np.asarray(true, dtype=float)
        self._check_shapes()

    @classmethod
    def from_regressor(cls, regressor, spectra, row=0, *, samples=None, true=None):
        """Measure one star, with the covariance of its labels.

        Parameters
        ----------
        regressor : AbundanceRegressor
            Fitted, or with a fitted emulator.
        spectra : spectra, or array-like of shape (n_stars, n_pixels)
            Spectra, as for :meth:`sk_payne.AbundanceRegressor.predict`, with
            uncertainties unless the regressor has `snr`.
        row : int, default=0
            Number of the star.
        samples, true : array-like, default=None
            As in the class.

        Returns
        -------
        display : LabelCovarianceDisplay
            The display, not drawn yet. Other fitted parameters, such as the velocity,
            are left out; the covariance of the labels is marginalised over them.

        Raises
        ------
        IndexError
            If the star does not exist.

        Examples
        --------
        >>> import sk_payne
        >>> from sk_payne.inspection import LabelCovarianceDisplay
        >>> emulator = sk_payne.load("dwarfs-4500-4600")
        >>> P = [(emulator.label_low_ + emulator.label_high_) / 2]
        >>> star = emulator.to_spectra(P)
        >>> display = LabelCovarianceDisplay.from_regressor(
        ...     sk_payne.AbundanceRegressor(emulator, snr=100), star
        ... )
        >>> display.correlation.shape
        (19, 19)
        """
        stars = as_spectra(spectra, medium=regressor.medium, snr=regressor.snr)
        if not -len(stars) <= row < len(stars):
            raise IndexError(f"`row` must be one of the {len(stars)} stars; got {row}.")
        star = stars[row]
        regressor = copy.copy(regressor).set_params(snr=None)
        labels, covariance = regressor.predict(star, return_cov=True)
        table = regressor.measure(star)
        # labels are the first columns with errors; more follow
        names = [name for name in table.colnames if f"{name}_error" in table.colnames]
        names = names[: covariance.shape[1]]
        return cls(
            np.ravel(labels),
            covariance[0],
            names,
            [str(table[name].unit) for name in names],
            samples=samples,
            true=true,
        )

    @property
    def correlation(self):
        """Correlation matrix of the labels; NaN for an error of zero."""
        error = np.sqrt(np.diag(self.covariance))
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.covariance / np.outer(error, error)

    def ellipse(self, x, y, n_sigma=1):
        r"""Curve of equal density of two labels.

        Its points are :math:`\mu + n\,C^{1/2} (\cos t, \sin t)` with the covariance C
        of both labels. It contains the probability :math:`1 - e^{-n^2/2}` that chi2 of
        two degrees of freedom is below :math:`n^2`.

        Parameters
        ----------
        x, y : str
            Names of labels.
        n_sigma : float, default=1
            Standard deviations from the centre.

        Returns
        -------
        x, y : ndarray of shape (181,)
            Points on the closed curve.
        """
        pair = [self.label_names.index(x), self.label_names.index(y)]
        variance, axes = np.linalg.eigh(self.covariance[np.ix_(pair, pair)])
        half = n_sigma * np.sqrt(variance.clip(0)) * axes
        curve = self.values[pair, None] + half @ [np.cos(_ANGLES), np.sin(_ANGLES)]
        return curve[0], curve[1]

    def plot(self, ax=None, *, labels=None):
        """Draw a panel for each label and each pair of labels.

        Panels on the diagonal show the Gaussian of a label, panels below it the
        ellipses of two labels at 1 and 2 standard deviations. Samples are added as
        histograms, or as points if they are few.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, shape (n_labels, n_labels), default=None
            Axes above the diagonal are not used. If None, a new figure.
        labels : list of str, default=None
            Labels to draw; if None, all.

        Returns
        -------
        display : LabelCovarianceDisplay
            Itself.
        """
        labels = chosen_labels(labels, self.label_names)
        n = len(labels)
        new = ax is None
        self._on_panels(_new_corner(n) if new else ax)
        self.ax_ = self.ax_.reshape(n, n)
        columns = [self.label_names.index(name) for name in labels]
        for row, i in enumerate(columns):
            self._draw_label(self.ax_[row, row], i)
            for column, j in enumerate(columns[:row]):
                self._draw_pair(self.ax_[row, column], j, i)
        self._name_axes(columns)
        if new:
            self.figure_.align_labels()
        if new and n > 1:
            handles, _ = self.ax_[1, 0].get_legend_handles_labels()
            self.figure_.legend(handles=handles, loc="upper right", fontsize="small")
        return self

    def plot_correlation(self, ax=None, *, labels=None):
        """Draw the correlation matrix, with its numbers.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure.
        labels : list of str, default=None
            Labels to draw; if None, all.

        Returns
        -------
        display : LabelCovarianceDisplay
            Itself.
        """
        labels = chosen_labels(labels, self.label_names)
        columns = [self.label_names.index(name) for name in labels]
        matrix = self.correlation[np.ix_(columns, columns)]
        side = _CELL * len(labels) + 1.5
        ax = self._on_axes(ax, (side + 0.5, side))
        style = {"vmin": -1, "vmax": 1, "cmap": "RdBu_r"}
        image = draw_matrix(ax, matrix, labels, labels, **style)
        for (i, j), value in np.ndenumerate(matrix.round(2) + 0.0):  # no minus zero
            # white digits on dark colours
            color = "w" if abs(value) > 0.6 else "k"
            ax.text(
                *(j, i, f"{value:.2f}"),
                **{"ha": "center", "va": "center", "fontsize": "x-small"},
                color=color,
            )
        self.figure_.colorbar(image, ax=ax, label="correlation", shrink=0.8)
        return self

    def _draw_label(self, panel, i):
        value, error = self.values[i], np.sqrt(self.covariance[i, i])
        if self.samples is not None:
            panel.hist(self.samples[:, i], **_HISTOGRAM, density=True)
        density = np.exp(-(_CURVE**2) / 2) / np.sqrt(2 * np.pi)
        with np.errstate(divide="ignore", invalid="ignore"):
            panel.plot(value + error * _CURVE, density / error, **_GAUSSIAN)
        if self.true is not None:
            panel.axvline(self.true[i], **_TRUE)
        panel.set_title(
            f"{with_unit(self.label_names[i], self.label_units[i])}\n"
            f"{with_error(value, error)}",
            fontsize="x-small",
        )
        panel.set_ylim(0, None)

    def _draw_pair(self, panel, j, i):
        if self.samples is not None:
            pair = self.samples[:, j], self.samples[:, i]
            if len(self.samples) >= _MANY_SAMPLES:
                panel.hist2d(*pair, bins=_HISTOGRAM["bins"], cmap="Greys")
                panel.plot([], [], "s", color=_SAMPLES, label="samples")
            else:
                panel.plot(*pair, ".", ms=2, color=_SAMPLES, label="samples")
        for n_sigma in (1, 2):
            curve = self.ellipse(self.label_names[j], self.label_names[i], n_sigma)
            label = "1 and 2 σ (39, 86 %)" if n_sigma == 1 else None
            panel.plot(*curve, **_GAUSSIAN, label=label)
        if self.true is not None:
            panel.axvline(self.true[j], **_TRUE, label="true")
            panel.axhline(self.true[i], **_TRUE)

    def _name_axes(self, columns):
        """Set limits, ticks and names; only panels on the left and below show names."""
        for row, i in enumerate(columns):
            name = with_unit(self.label_names[i], self.label_units[i])
            self.ax_[-1, row].set_xlabel(name, fontsize="small")
            if row:
                self.ax_[row, 0].set_ylabel(name, fontsize="small")
            for column, j in enumerate(columns[: row + 1]):
                panel = self.ax_[row, column]
                panel.set_xlim(self._limits(j))
                if column < row:
                    panel.set_ylim(self._limits(i))
                panel.locator_params(nbins=3)
                panel.ticklabel_format(useOffset=False)
                panel.tick_params(axis="x", labelrotation=90)
                panel.tick_params(
                    labelsize="x-small" if len(columns) <= _MANY else "xx-small",
                    labelleft=column == 0 and row > 0,
                    left=column < row,
                    labelbottom=row == len(columns) - 1,
                )

    def _limits(self, i):
        """Limits of an axis that shows 3 sigma, most samples, and the true value."""
        value, error = self.values[i], np.sqrt(self.covariance[i, i])
        shown = [value - 3 * error, value + 3 * error]
        if self.samples is not None:
            shown += list(np.quantile(self.samples[:, i], [0.002, 0.998]))
        if self.true is not None:
            shown.append(self.true[i])
        margin = 0.05 * np.ptp(shown) or 1.0
        return min(shown) - margin, max(shown) + margin

    def _check_shapes(self):
        n = len(self.label_names)
        expected = {
            "values": (n,),
            "covariance": (n, n),
            "label_units": (n,),
            "samples": (None if self.samples is None else len(self.samples), n),
            "true": (n,),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and np.shape(value) != shape:
                raise ValueError(
                    f"`{name}` must have the shape {shape}, for {n} labels; got "
                    f"{np.shape(value)}."
                )


def _new_corner(n):
    """Axes of shape (n, n), None above the diagonal."""
    panel = _PANELS[n > _MANY]
    size = n * panel + 2 * _MARGIN
    figure = import_pyplot().figure(figsize=(size, size))
    place = {"left": _MARGIN, "bottom": _MARGIN, "right": size - _MARGIN}
    grid = figure.add_gridspec(
        *(n, n),
        **{side: inches / size for side, inches in place.items()},
        top=1 - _MARGIN / size,
        wspace=0.08,
        hspace=0.08,
    )
    ax = np.full((n, n), None, dtype=object)
    for row in range(n):
        for column in range(row + 1):
            ax[row, column] = figure.add_subplot(grid[row, column])
    return ax
