"""How well labels can be measured at best, from which part of a spectrum.

It is here because that can be told before a single star has been observed.
"""

import numpy as np
from sklearn.utils import Bunch

from sk_payne.exceptions import did_you_mean
from sk_payne.inspection._axes import import_pyplot, wavelength_label, with_unit
from sk_payne.inspection._sensitivity import sensitivity

__all__ = ["BestWindowsDisplay", "CramerRaoDisplay", "best_windows", "cramer_rao"]


def cramer_rao(emulator, P, snr, window=None, *, fixed=()):
    r"""Smallest possible errors of labels, all of them free (Cramér and Rao).

    .. math:: C = \Big[\sum_\lambda \frac{1}{\sigma^2}
        \frac{\partial F}{\partial p} \frac{\partial F}{\partial p}^\top \Big]^{-1},
        \qquad \sigma = 1 / \mathrm{S/N} ,

    the inverse of the Fisher information of independent Gaussian noise.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted, for continuum-normalised flux.
    P : array-like of shape (n_spectra, n_labels)
        Stellar parameters.
    snr : float
        Signal-to-noise ratio per pixel of the grid of the emulator, in the continuum.
    window : tuple of float or array-like of shape (n_windows, 2), default=None
        First and last wavelength in Å of the part or parts that are observed; if None,
        all.
    fixed : sequence of str, default=()
        Labels that are known, such as ["teff", "logg"]. Those that never varied in
        training always are.

    Returns
    -------
    bound : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        error : ndarray of shape (n_spectra, n_labels)
            Standard deviations; 0 for labels that are known, infinite for those that
            the pixels do not tell.
        covariance : ndarray of shape (n_spectra, n_labels, n_labels)
            C, with zeros for labels that are known.
        n_pixels : int
            How many are in the window.
        label_names, label_units : list of str
            Of the labels.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If an argument is not allowed, or no pixel is in the window.

    See Also
    --------
    best_windows : The best parts of a spectrum for one label.
    sk_payne.abundances.mock_recovery : Whether errors of a fit come up to it.

    Notes
    -----
    Radial velocity, broadening and continuum are taken as known, and the emulator as
    true, so errors of a fit that finds them, too, are larger.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import cramer_rao
    >>> grid = make_spectra(100, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", label_names=grid.label_names, max_steps=200, random_state=0
    ... ).fit(grid.data, grid.target)
    >>> free = cramer_rao(emulator, grid.data[:1], snr=100).error[0]
    >>> known = cramer_rao(emulator, grid.data[:1], snr=100, fixed=["teff"]).error[0]
    >>> float(known[0]), bool((known <= free).all())
    (0.0, True)
    """
    _check_snr(snr)
    return bound_of(sensitivity(emulator, P), snr, window, fixed)


def bound_of(s, snr, window=None, fixed=()):
    """Bound of derivatives that :func:`sensitivity` gave, as `cramer_rao` gives it."""
    free = _free_labels(s, fixed)
    used = _used_pixels(s.wavelength, window)
    n_labels = len(s.label_names)
    covariance = np.zeros((len(s.flux), n_labels, n_labels))
    for found, jacobian in zip(covariance, s.derivative, strict=True):
        slope = snr * jacobian[np.ix_(free, used)]
        found[np.ix_(free, free)] = _inverse(slope @ slope.T)
    return Bunch(
        error=np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)),
        covariance=covariance,
        n_pixels=len(used),
        label_names=s.label_names,
        label_units=s.label_units,
    )


def best_windows(emulator, P, label, *, snr=100, width=5.0, n_best=5, fixed=()):
    """Find the parts of a spectrum that tell most about one label.

    Windows of one width are tried all over the grid, in steps of a quarter of it.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted, for continuum-normalised flux.
    P : array-like of shape (n_spectra, n_labels)
        Stars; errors are medians over them.
    label : str
        Such as "Mg_H".
    snr : float, default=100
        As in :func:`cramer_rao`. Errors go with its inverse, the order of windows
        does not depend on it.
    width : float, default=5.0
        Of a window, in Å.
    n_best : int, default=5
        Windows to choose, which do not overlap.
    fixed : sequence of str, default=()
        Other labels that are known from elsewhere. Those that are not must be found
        from the window, too.

    Returns
    -------
    windows : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        windows : ndarray of shape (n_windows, 2)
            First and last wavelength in Å of all windows.
        error : ndarray of shape (n_windows,)
            Of the label from a window alone, other labels free unless fixed.
        error_known : ndarray of shape (n_windows,)
            The same if all other labels were known.
        best : ndarray of shape (at most n_best,), int
            The windows with the smallest `error`, the best first.
        whole_error : float
            Of the label from the whole spectrum.
        label, unit : str
            Which label.
        medium : {"air", "vacuum"} or None
            Of the wavelengths; None for pixels.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If an argument is not allowed.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import best_windows
    >>> grid = make_spectra(100, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
    ...     label_names=grid.label_names, max_steps=200, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> found = best_windows(emulator, grid.data[:5], "Mg_H", width=4, n_best=2)
    >>> found.windows[found.best].shape
    (2, 2)
    """
    _check_snr(snr)
    s = sensitivity(emulator, P)
    free = _free_labels(s, fixed)
    if label not in [s.label_names[i] for i in free]:
        raise ValueError(
            f"`label` must be one of the free labels {_names(s, free)}; got {label!r}."
            f"{did_you_mean(label, s.label_names)}"
        )
    low, high = s.wavelength[[0, -1]]
    if not 0 < width <= high - low:
        raise ValueError(
            f"`width` must be positive and at most {high - low:.4g} Å, what the "
            f"emulator covers; got {width!r}."
        )
    start = np.arange(low, high - width * (1 - 1e-9), width / 4)
    windows = np.stack([start, start + width], axis=1)
    i = _names(s, free).index(label)
    slopes = snr * s.derivative[:, free]
    errors = np.array(
        [_errors(slopes[..., _between(s.wavelength, *w)], i) for w in windows]
    )
    return Bunch(
        windows=windows,
        error=errors[:, 0],
        error_known=errors[:, 1],
        best=_best_apart(errors[:, 0], windows, n_best),
        whole_error=_errors(slopes, i)[0],
        label=label,
        unit=s.label_units[s.label_names.index(label)],
        medium=s.medium,
    )


def _check_snr(snr):
    if not (np.ndim(snr) == 0 and np.isfinite(snr) and snr > 0):
        raise ValueError(f"`snr` must be one positive, finite number; got {snr!r}.")


def _names(s, rows):
    return [s.label_names[i] for i in rows]


def _free_labels(s, fixed):
    """Columns of the labels that are not known."""
    fixed = [fixed] if isinstance(fixed, str) else list(fixed)
    for name in fixed:
        if name not in s.label_names:
            raise ValueError(
                f"`fixed` must be among {s.label_names}; got {name!r}."
                f"{did_you_mean(name, s.label_names)}"
            )
    known = np.isnan(s.derivative[0, :, 0]) | np.isin(s.label_names, fixed)
    return np.flatnonzero(~known)


def _between(wavelength, low, high):
    return (wavelength >= low) & (wavelength <= high)


def _used_pixels(wavelength, window):
    if window is None:
        return np.arange(len(wavelength))
    pairs = np.atleast_2d(np.asarray(window, dtype=float))
    if pairs.shape[1:] != (2,) or not (pairs[:, 0] < pairs[:, 1]).all():
        raise ValueError(
            "`window` must be a first and a last wavelength in Å, or a list of such "
            f"pairs; got {window!r}."
        )
    used = np.flatnonzero(np.any([_between(wavelength, *p) for p in pairs], axis=0))
    if not len(used):
        raise ValueError(
            f"`window` must hold a pixel of {wavelength[0]:.2f}-{wavelength[-1]:.2f} "
            f"Å, the range of the emulator; got {window!r}."
        )
    return used


def _inverse(information):
    """Covariance, with infinite variances where nothing is known."""
    diagonal = np.diagonal(information)
    blind = diagonal <= 0
    scale = np.sqrt(np.where(blind, 1.0, diagonal))
    scaled = information / np.outer(scale, scale) + np.diag(blind.astype(float))
    values, vectors = np.linalg.eigh(scaled)
    told = values > len(values) * np.finfo(float).eps * max(values.max(initial=0), 1)
    inverse = (vectors / np.where(told, values, np.inf)) @ vectors.T
    lost = blind | ((vectors[:, ~told] ** 2).sum(axis=1) > 1e-6)
    np.fill_diagonal(inverse, np.where(lost, np.inf, np.diagonal(inverse)))
    return inverse / np.outer(scale, scale)


def _errors(slopes, i):
    """Median errors of label i, with the others free and with them known."""
    with np.errstate(divide="ignore"):
        free = [np.sqrt(_inverse(slope @ slope.T)[i, i]) for slope in slopes]
        known = 1 / np.linalg.norm(slopes[:, i], axis=1)
    return np.median(free), np.median(known)


def _best_apart(error, windows, n_best):
    best = []
    for i in np.argsort(error, kind="stable"):
        low, high = windows[i]
        apart = all(high <= windows[j, 0] or low >= windows[j, 1] for j in best)
        if apart and np.isfinite(error[i]) and len(best) < n_best:
            best.append(i)
    return np.array(best, dtype=int)


class CramerRaoDisplay:
    """Smallest possible errors of labels: medians, and 90 % of the stars.

    Labels that are known have no error, and are left out.

    Parameters
    ----------
    bound : Bunch
        From :func:`cramer_rao`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With logarithmic errors, in the unit of each label.
    figure_ : matplotlib Figure
        Both are set by :meth:`plot`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from sk_payne.inspection import CramerRaoDisplay
    >>> display = CramerRaoDisplay(Bunch(
    ...     error=np.array([[20.0, 0.0, 0.1], [30.0, 0.0, 0.2]]),
    ...     label_names=["teff", "logg", "Fe_H"], label_units=["K", "dex", "dex"],
    ... ))
    >>> display.free_labels
    ['teff', 'Fe_H']
    """

    def __init__(self, bound):
        self.bound = bound

    @classmethod
    def from_estimator(cls, emulator, P, snr, window=None, *, fixed=()):
        """Find the errors for an emulator.

        Parameters
        ----------
        emulator : SpectrumEmulator
            Fitted.
        P : array-like of shape (n_spectra, n_labels)
            Stars.
        snr, window, fixed : object
            As in :func:`cramer_rao`.

        Returns
        -------
        display : CramerRaoDisplay
            Not drawn yet.
        """
        return cls(cramer_rao(emulator, P, snr, window, fixed=fixed))

    @property
    def free_labels(self):
        """Names of the labels that are not known."""
        some = (self.bound.error > 0).any(axis=0)
        return [n for n, s in zip(self.bound.label_names, some, strict=True) if s]

    def plot(self, ax=None, *, errorbar_kwargs=None):
        """Draw the errors.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure.
        errorbar_kwargs : dict, default=None
            For the points.

        Returns
        -------
        display : CramerRaoDisplay
            Itself.
        """
        b, names = self.bound, self.free_labels
        if ax is None:
            size = max(4, 0.42 * len(names) + 1.2), 3.2
            _, ax = import_pyplot().subplots(figsize=size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        rows = [b.label_names.index(name) for name in names]
        error = np.where(np.isfinite(b.error), b.error, np.nan)[:, rows]
        low, middle, high = np.nanquantile(error, [0.05, 0.5, 0.95], axis=0)
        style = {"fmt": "o", "ms": 4, "lw": 1} | (errorbar_kwargs or {})
        ax.errorbar(range(len(names)), middle, [middle - low, high - middle], **style)
        told = [with_unit(b.label_names[i], b.label_units[i]) for i in rows]
        ax.set_xticks(range(len(rows)), told, rotation=90)
        ax.set(yscale="log", ylabel="Cramér-Rao error")
        ax.grid(axis="y", alpha=0.3)
        return self


class BestWindowsDisplay:
    """Error of one label against where a window lies.

    Parameters
    ----------
    found : Bunch
        From :func:`best_windows`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With a logarithmic error.
    spans_ : list of matplotlib artists
        The best windows.
    figure_ : matplotlib Figure
        All are set by :meth:`plot`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from sk_payne.inspection import BestWindowsDisplay
    >>> display = BestWindowsDisplay(Bunch(
    ...     windows=np.array([[4500.0, 4505.0], [4505.0, 4510.0]]), label="Mg_H",
    ...     error=np.array([0.2, 0.1]), error_known=np.array([0.1, 0.05]),
    ...     best=np.array([1]), whole_error=0.05, unit="dex", medium="air",
    ... ))
    >>> display.center
    array([4502.5, 4507.5])
    """

    def __init__(self, found):
        self.found = found

    @classmethod
    def from_estimator(cls, emulator, P, label, **options):
        """Try windows for an emulator.

        Parameters
        ----------
        emulator : SpectrumEmulator
            Fitted.
        P : array-like of shape (n_spectra, n_labels)
            Stars.
        label : str
            Such as "Mg_H".
        **options : dict
            For :func:`best_windows`.

        Returns
        -------
        display : BestWindowsDisplay
            Not drawn yet.
        """
        return cls(best_windows(emulator, P, label, **options))

    @property
    def center(self):
        """Middle of every window in Å."""
        return self.found.windows.mean(axis=1)

    def plot(self, ax=None, *, line_kwargs=None):
        """Draw errors, and the best windows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure.
        line_kwargs : dict, default=None
            For the line of errors with other labels free.

        Returns
        -------
        display : BestWindowsDisplay
            Itself.
        """
        f = self.found
        if ax is None:
            _, ax = import_pyplot().subplots(figsize=(9, 3.2), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.spans_ = [
            ax.axvspan(*f.windows[i], color="C1", alpha=0.25, lw=0) for i in f.best
        ]
        free = {"color": "C0", "lw": 1.2, "label": "window alone"}
        ax.plot(self.center, f.error, **free | (line_kwargs or {}))
        ax.plot(
            *(self.center, f.error_known),
            color="0.5",
            lw=0.9,
            label="window, other labels known",
        )
        ax.axhline(f.whole_error, color="k", ls="--", lw=0.9, label="whole spectrum")
        ax.set(
            yscale="log",
            xlabel=wavelength_label(f.medium),
            ylabel=f"error of {with_unit(f.label, f.unit)}",
        )
        ax.set_xlim(f.windows[0, 0], f.windows[-1, 1])
        ax.legend(
            fontsize="small",
            ncols=3,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            frameon=False,
        )
        return self
