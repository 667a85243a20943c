"""Cramér-Rao bound: the smallest possible errors of labels, before any observation."""

import numpy as np
from sklearn.utils import Bunch

from sk_payne.exceptions import did_you_mean
from sk_payne.inputs import without_unit
from sk_payne.inspection._axes import segments_of, with_unit
from sk_payne.inspection._display import BunchDisplay
from sk_payne.inspection._opened import open_emulator
from sk_payne.inspection._sensitivity import sensitivity

__all__ = ["CramerRaoDisplay", "cramer_rao"]


def cramer_rao(emulator, P, snr, window=None, *, fixed=(), emulator_error=False):
    r"""Smallest possible covariance of the labels (Cramér-Rao bound).

    .. math:: C = \Big[\sum_\lambda \frac{1}{\sigma^2}
        \frac{\partial F}{\partial p} \frac{\partial F}{\partial p}^\top \Big]^{-1},
        \qquad \sigma = 1 / \mathrm{S/N} ,

    the inverse of the Fisher information of independent Gaussian noise.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted emulator of continuum-normalised flux.
    P : array-like of shape (n_spectra, n_labels)
        Stellar parameters.
    snr : float
        Signal-to-noise ratio per pixel of the grid of the emulator, in the continuum.
    window : tuple of float or array-like of shape (n_windows, 2), default=None
        First and last wavelength of each observed window, in Å unless they have a unit;
        if None, all wavelengths.
    fixed : sequence of str, default=()
        Labels that are known, such as ["teff", "logg"]. Labels that never varied in
        training are always known.
    emulator_error : bool, default=False
        Whether to include the error of the emulator, as in errors of measured stars:
        its flux error in the noise of the pixels, and the covariance of the errors that
        it causes in labels.

    Returns
    -------
    bound : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        error : ndarray of shape (n_spectra, n_labels)
            1 sigma errors; 0 for known labels, infinite for labels that the pixels do
            not constrain.
        covariance : ndarray of shape (n_spectra, n_labels, n_labels)
            Covariance C, with zeros for known labels.
        n_pixels : int
            Number of pixels in the windows.
        label_names, label_units : list of str
            Names and units of the labels.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If an argument is not allowed, no pixel is in the windows, or the error of the
        emulator is unknown.

    See Also
    --------
    best_windows : The best windows of a spectrum for one label.
    sk_payne.recovery.mock_recovery : Errors of fits to mock stars.

    Notes
    -----
    Radial velocity, broadening and continuum are taken as known, and the emulator as
    exact unless `emulator_error` is True. Errors of a fit with more free parameters are
    larger.

    Examples
    --------
    >>> import sk_payne
    >>> from sk_payne.inspection import cramer_rao
    >>> emulator = sk_payne.load("dwarfs-4500-4600")
    >>> P = [(emulator.label_low_ + emulator.label_high_) / 2]
    >>> free = cramer_rao(emulator, P, snr=100).error[0]
    >>> known = cramer_rao(emulator, P, snr=100, fixed=["teff"]).error[0]
    >>> float(known[0]), bool((known <= free).all())
    (0.0, True)
    >>> whole = cramer_rao(emulator, P, snr=100, emulator_error=True)
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
    """Bound, as from :func:`cramer_rao`, of a result of :func:`sensitivity`.

    The signal-to-noise ratio is one number, or one for each star and wavelength.
    """
    snr = np.broadcast_to(snr, s.flux.shape)
    free = free_labels_of(s, fixed)
    used = _used_pixels(s.wavelength, window)
    n_labels = len(s.label_names)
    covariance = np.zeros((len(s.flux), n_labels, n_labels))
    for of_star, jacobian, ratio in zip(covariance, s.derivative, snr, strict=True):
        slope = ratio[used] * jacobian[np.ix_(free, used)]
        of_star[np.ix_(free, free)] = invert_information(slope @ slope.T)
    return Bunch(
        error=np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)),
        covariance=covariance,
        n_pixels=len(used),
        label_names=s.label_names,
        label_units=s.label_units,
    )


def checked_snr(snr):
    """Check that a signal-to-noise ratio is one positive number, and return it."""
    snr = without_unit(snr, argument="snr")
    if not (np.ndim(snr) == 0 and np.isfinite(snr) and snr > 0):
        raise ValueError(f"`snr` must be one positive, finite number; got {snr!r}.")
    return snr


def free_labels_of(s, fixed):
    """Columns of the free labels: those that varied in training and are not fixed."""
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
    """Mask of the wavelengths in a window, ends included."""
    return (wavelength >= low) & (wavelength <= high)


def _used_pixels(wavelength, window):
    if window is None:
        return np.arange(len(wavelength))
    window = without_unit(window, argument="window", unit="Angstrom")
    pairs = np.atleast_2d(np.asarray(window, dtype=float))
    if pairs.shape[1:] != (2,) or not (pairs[:, 0] < pairs[:, 1]).all():
        raise ValueError(
            "`window` must be a first and a last wavelength in Å, or a list of pairs "
            f"of them; got {window!r}."
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
    """Covariance from an information matrix; infinite variance without information."""
    diagonal = np.diagonal(information)
    empty = diagonal <= 0
    scale = np.sqrt(np.where(empty, 1.0, diagonal))
    scaled = information / np.outer(scale, scale) + np.diag(empty.astype(float))
    values, vectors = np.linalg.eigh(scaled)
    regular = values > len(values) * np.finfo(float).eps * max(values.max(initial=0), 1)
    inverse = (vectors / np.where(regular, values, np.inf)) @ vectors.T
    unknown = empty | ((vectors[:, ~regular] ** 2).sum(axis=1) > 1e-6)
    np.fill_diagonal(inverse, np.where(unknown, np.inf, np.diagonal(inverse)))
    return inverse / np.outer(scale, scale)


class CramerRaoDisplay(BunchDisplay):
    """Smallest possible errors of labels: medians, and the range of 90 % of the stars.

    Known labels are left out.

    Parameters
    ----------
    bound : Bunch
        Result of :func:`cramer_rao`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with logarithmic errors, in the unit of each label.
    figure_ : matplotlib Figure
        Figure of the plot; :meth:`plot` sets both.

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

    _compute = staticmethod(cramer_rao)

    def __init__(self, bound):
        self.bound = bound

    @property
    def free_labels(self):
        """Names of the labels that are not known."""
        free = (self.bound.error > 0).any(axis=0)
        return [n for n, f in zip(self.bound.label_names, free, strict=True) if f]

    def plot(self, ax=None, *, errorbar_kwargs=None):
        """Draw the errors.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure.
        errorbar_kwargs : dict, default=None
            Style of the points.

        Returns
        -------
        display : CramerRaoDisplay
            Itself.
        """
        b, names = self.bound, self.free_labels
        ax = self._on_axes(ax, (max(4, 0.42 * len(names) + 1.2), 3.2))
        rows = [b.label_names.index(name) for name in names]
        error = np.where(np.isfinite(b.error), b.error, np.nan)[:, rows]
        low, middle, high = np.nanquantile(error, [0.05, 0.5, 0.95], axis=0)
        style = {"fmt": "o", "ms": 4, "lw": 1} | (errorbar_kwargs or {})
        ax.errorbar(range(len(names)), middle, [middle - low, high - middle], **style)
        titles = [with_unit(b.label_names[i], b.label_units[i]) for i in rows]
        ax.set_xticks(range(len(rows)), titles, rotation=90)
        ax.set(yscale="log", ylabel="Cramér-Rao error")
        ax.grid(axis="y", alpha=0.3)
        return self
