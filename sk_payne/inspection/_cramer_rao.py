"""How well labels can be measured at best.

It is here because that can be told before a single star has been observed.
"""

import numpy as np
from sklearn.utils import Bunch

from sk_payne.exceptions import did_you_mean
from sk_payne.inputs import without_unit
from sk_payne.inspection._axes import import_pyplot, segments_of, with_unit
from sk_payne.inspection._opened import open_emulator
from sk_payne.inspection._sensitivity import sensitivity

__all__ = ["CramerRaoDisplay", "cramer_rao"]


def cramer_rao(emulator, P, snr, window=None, *, fixed=(), emulator_error=False):
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
        First and last wavelength, in Å unless they have a unit, of the part or parts
        that are observed; if None, all.
    fixed : sequence of str, default=()
        Labels that are known, such as ["teff", "logg"]. Those that never varied in
        training always are.
    emulator_error : bool, default=False
        Whether the error of the emulator counts: it is added to that of the pixels, and
        to the covariance what it makes of labels, as in errors of measured stars.

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
        If an argument is not allowed, no pixel is in the window, or the emulator does
        not know its error.

    See Also
    --------
    best_windows : The best parts of a spectrum for one label.
    sk_payne.recovery.mock_recovery : Whether errors of a fit come up to it.

    Notes
    -----
    Radial velocity, broadening and continuum are taken as known, and the emulator as
    true unless `emulator_error` is True, so errors of a fit that finds them, too, are
    larger.

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
    >>> whole = cramer_rao(emulator, grid.data[:1], snr=100, emulator_error=True)
    >>> bool((whole.error[0] > free).all())
    True
    """
    snr = checked_snr(snr)
    s = sensitivity(emulator, P)
    if not emulator_error:
        return bound_of(s, snr, window, fixed)
    label_errors = _label_errors_of(emulator)
    _, std = emulator.predict(P, return_std=True)
    bound = bound_of(s, 1 / np.hypot(1 / snr, std), window, fixed)
    free, used = free_labels_of(s, fixed), _used_pixels(s.wavelength, window)
    scale = emulator.trained_.scaling.label_half_width
    slope = np.zeros_like(s.derivative[:, :, used])
    error = np.where(std > 0, std, np.inf)[:, None, used]
    slope[:, free] = scale[free, None] * s.derivative[:, free][:, :, used] / error
    covariance = label_errors.covariance(
        open_emulator(emulator, P)[1].cpu().numpy(),
        slope @ slope.transpose(0, 2, 1),
        np.full(len(slope), len(used) / len(s.wavelength)),
    )
    both = np.ix_(np.arange(len(slope)), free, free)
    bound.covariance[both] += (covariance * scale[:, None] * scale)[both]
    bound.error = np.sqrt(np.diagonal(bound.covariance, axis1=1, axis2=2))
    return bound


def _label_errors_of(emulator):
    held_out = emulator.trained_.held_out
    if held_out is None or held_out.label_errors is None:
        raise ValueError(
            "`emulator_error` must be False for an emulator that held out fewer than "
            "ten spectra from training: it does not know its error. Pass spectra that "
            "it was not trained on to its method `calibrate`."
        )
    return held_out.label_errors


def bound_of(s, snr, window=None, fixed=()):
    """Bound of derivatives that :func:`sensitivity` gave, as `cramer_rao` gives it.

    The signal-to-noise ratio is one number, or one for each star and wavelength.
    """
    snr = np.broadcast_to(snr, s.flux.shape)
    free = free_labels_of(s, fixed)
    used = _used_pixels(s.wavelength, window)
    n_labels = len(s.label_names)
    covariance = np.zeros((len(s.flux), n_labels, n_labels))
    for found, jacobian, ratio in zip(covariance, s.derivative, snr, strict=True):
        slope = ratio[used] * jacobian[np.ix_(free, used)]
        found[np.ix_(free, free)] = invert_information(slope @ slope.T)
    return Bunch(
        error=np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)),
        covariance=covariance,
        n_pixels=len(used),
        label_names=s.label_names,
        label_units=s.label_units,
    )


def checked_snr(snr):
    """Return a signal-to-noise ratio, or raise unless it is one positive number."""
    snr = without_unit(snr, argument="snr")
    if not (np.ndim(snr) == 0 and np.isfinite(snr) and snr > 0):
        raise ValueError(f"`snr` must be one positive, finite number; got {snr!r}.")
    return snr


def free_labels_of(s, fixed):
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


def pixels_between(wavelength, low, high):
    """Say which wavelengths lie in a window, ends included."""
    return (wavelength >= low) & (wavelength <= high)


def _used_pixels(wavelength, window):
    if window is None:
        return np.arange(len(wavelength))
    window = without_unit(window, argument="window", unit="Angstrom")
    pairs = np.atleast_2d(np.asarray(window, dtype=float))
    if pairs.shape[1:] != (2,) or not (pairs[:, 0] < pairs[:, 1]).all():
        raise ValueError(
            "`window` must be a first and a last wavelength in Å, or a list of such "
            f"pairs; got {window!r}."
        )
    used = np.flatnonzero(
        np.any([pixels_between(wavelength, *p) for p in pairs], axis=0)
    )
    if not len(used):
        raise ValueError(
            f"`window` must hold a pixel of {_ranges(wavelength)} Å, the range of the "
            f"emulator; got {window!r}."
        )
    return used


def _ranges(wavelength):
    """First and last wavelength of each segment, as text."""
    parts = [wavelength[part] for part in segments_of(wavelength)]
    return ", ".join(f"{part[0]:.2f}-{part[-1]:.2f}" for part in parts)


def invert_information(information):
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
