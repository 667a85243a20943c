"""How the errors of one star's labels go together.

It is here because an error alone does not tell what else would change with the label.
"""

import copy

import numpy as np

from sk_payne.inspection._axes import (
    chosen_labels,
    import_pyplot,
    with_error,
    with_unit,
)
from sk_payne.spectra import as_spectra

__all__ = ["LabelCovarianceDisplay"]

# Sizes in inches: of a panel, for few labels and for many, of one number in a matrix,
# and of the margins that hold names and ticks.
_PANELS, _MANY = (1.6, 0.9), 8
_CELL = 0.42
_MARGIN = 0.8

# Points of an ellipse, and of a curve in standard deviations.
_TURN = np.linspace(0, 2 * np.pi, 181)
_CURVE = np.linspace(-4, 4, 161)

# Samples from which on they are drawn as a histogram instead of points.
_MANY_SAMPLES = 300

_SAMPLES = "0.6"
_HISTOGRAM = {"bins": 30, "color": _SAMPLES, "histtype": "stepfilled"}
_GAUSSIAN = {"color": "C0", "lw": 1.0}
_TRUE = {"color": "C3", "lw": 0.8}


class LabelCovarianceDisplay:
    """Covariance of the labels of one star, as ellipses or as a matrix.

    Ellipses are the curves of equal density of the bivariate Gaussian of two labels,
    whatever the others are, at 1 and 2 standard deviations from its centre: they hold
    39.3 % and 86.5 % of it, not 68 and 95 %. Their projections on the axes are 1 and 2
    errors wide on either side.

    Parameters
    ----------
    values : array-like of shape (n_labels,)
        Labels of the star.
    covariance : array-like of shape (n_labels, n_labels)
        Of the labels.
    label_names : list of str
        Of the labels.
    label_units : list of str, default=None
        Of the labels.
    samples : array-like of shape (n_samples, n_labels), default=None
        Draws from a posterior distribution, to compare.
    true : array-like of shape (n_labels,), default=None
        Known values, to be marked.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (n_labels, n_labels), or matplotlib Axes
        Of the panels drawn by :meth:`plot`, None above the diagonal; of the matrix
        drawn by :meth:`plot_correlation`.
    figure_ : matplotlib Figure
        Both are set by :meth:`plot` and :meth:`plot_correlation`.

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
            Fitted, or around a fitted emulator.
        spectra : spectra, or array-like of shape (n_stars, n_pixels)
            As :meth:`sk_payne.AbundanceRegressor.predict` takes them, with
            uncertainties unless the regressor has `snr`.
        row : int, default=0
            Which star.
        samples, true : array-like, default=None
            As in the class.

        Returns
        -------
        display : LabelCovarianceDisplay
            Not drawn yet. What is fitted besides labels, such as the velocity, has no
            part in it, but labels have the errors that come from its being free.

        Raises
        ------
        IndexError
            If there is no such star.

        Examples
        --------
        >>> from sk_payne import AbundanceRegressor, SpectrumEmulator
        >>> from sk_payne.datasets import make_spectra
        >>> from sk_payne.inspection import LabelCovarianceDisplay
        >>> grid = make_spectra(300, random_state=0)
        >>> emulator = SpectrumEmulator(
        ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
        ...     label_names=grid.label_names, label_units=grid.label_units,
        ...     max_steps=400, random_state=0,
        ... ).fit(grid.data, grid.target)
        >>> display = LabelCovarianceDisplay.from_regressor(
        ...     AbundanceRegressor(emulator, snr=100), grid.target, row=3
        ... )
        >>> display.correlation.shape
        (5, 5)
        """
        stars = as_spectra(spectra, medium=regressor.medium, snr=regressor.snr)
        if not -len(stars) <= row < len(stars):
            raise IndexError(f"`row` must be one of the {len(stars)} stars; got {row}.")
        star = stars[row]
        regressor = copy.copy(regressor).set_params(snr=None)
        labels, covariance = regressor.predict(star, return_cov=True)
        table = regressor.measure(star)
        # labels come first; means have further columns
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
        """Covariance over the product of both errors; NaN for an error of zero."""
        error = np.sqrt(np.diag(self.covariance))
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.covariance / np.outer(error, error)

    def ellipse(self, x, y, n_sigma=1):
        r"""Curve of equal density of two labels.

        Its points are :math:`\mu + n\,C^{1/2} (\cos t, \sin t)` with the covariance C
        of both labels, and it holds the part :math:`1 - e^{-n^2/2}`, as chi2 of two
        degrees of freedom is within :math:`n^2` so often.

        Parameters
        ----------
        x, y : str
            Names of labels.
        n_sigma : float, default=1
            Standard deviations from the centre.

        Returns
        -------
        x, y : ndarray of shape (181,)
            Points on the curve, which is closed.
        """
        pair = [self.label_names.index(x), self.label_names.index(y)]
        variance, axes = np.linalg.eigh(self.covariance[np.ix_(pair, pair)])
        half = n_sigma * np.sqrt(variance.clip(0)) * axes
        curve = self.values[pair, None] + half @ [np.cos(_TURN), np.sin(_TURN)]
        return curve[0], curve[1]

    def plot(self, ax=None, *, labels=None):
        """Draw a panel for each label and each pair of labels.

        On the diagonal is the Gaussian of a label, and below it the ellipses of two
        labels at 1 and 2 standard deviations; with samples, their histograms, or
        points if they are few.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, shape (n_labels, n_labels), default=None
            Those above the diagonal are not used. If None, a new figure.
        labels : list of str, default=None
            Which labels; if None, all.

        Returns
        -------
        display : LabelCovarianceDisplay
            Itself.
        """
        labels = chosen_labels(labels, self.label_names)
        n = len(labels)
        new = ax is None
        self.ax_ = np.asarray(_new_corner(n) if new else ax, dtype=object).reshape(n, n)
        self.figure_ = self.ax_[0, 0].figure
        where = [self.label_names.index(name) for name in labels]
        for row, i in enumerate(where):
            self._draw_label(self.ax_[row, row], i)
            for column, j in enumerate(where[:row]):
                self._draw_pair(self.ax_[row, column], j, i)
        self._name_axes(where)
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
            Which labels; if None, all.

        Returns
        -------
        display : LabelCovarianceDisplay
            Itself.
        """
        labels = chosen_labels(labels, self.label_names)
        where = [self.label_names.index(name) for name in labels]
        matrix = self.correlation[np.ix_(where, where)]
        if ax is None:
            side = _CELL * len(labels) + 1.5
            _, ax = import_pyplot().subplots(
                figsize=(side + 0.5, side), layout="constrained"
            )
        self.ax_, self.figure_ = ax, ax.figure
        image = ax.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
        for (i, j), value in np.ndenumerate(matrix.round(2) + 0.0):  # no minus zero
            # dark colours want light digits
            color = "w" if abs(value) > 0.6 else "k"
            ax.text(
                *(j, i, f"{value:.2f}"),
                **{"ha": "center", "va": "center", "fontsize": "x-small"},
                color=color,
            )
        ax.set_xticks(range(len(labels)), labels, rotation=90)
        ax.set_yticks(range(len(labels)), labels)
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

    def _name_axes(self, where):
        """Limits, ticks and names, which only panels on the left and below show."""
        for row, i in enumerate(where):
            self.ax_[-1, row].set_xlabel(
                with_unit(self.label_names[i], self.label_units[i]), fontsize="small"
            )
            if row:
                self.ax_[row, 0].set_ylabel(
                    with_unit(self.label_names[i], self.label_units[i]),
                    fontsize="small",
                )
            for column, j in enumerate(where[: row + 1]):
                panel = self.ax_[row, column]
                panel.set_xlim(self._limits(j))
                if column < row:
                    panel.set_ylim(self._limits(i))
                panel.locator_params(nbins=3)
                panel.ticklabel_format(useOffset=False)
                panel.tick_params(axis="x", labelrotation=90)
                panel.tick_params(
                    labelsize="x-small" if len(where) <= _MANY else "xx-small",
                    labelleft=column == 0 and row > 0,
                    left=column < row,
                    labelbottom=row == len(where) - 1,
                )

    def _limits(self, i):
        """Give the ends of an axis that holds 3 errors, most samples, and the truth."""
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
