"""Best windows: the parts of a spectrum that constrain one label best."""

import numpy as np
from sklearn.utils import Bunch

from sk_payne.exceptions import did_you_mean
from sk_payne.inputs import without_unit
from sk_payne.inspection._axes import (
    legend_above,
    segments_of,
    wavelength_label,
    with_unit,
)
from sk_payne.inspection._cramer_rao import (
    checked_snr,
    free_labels_of,
    invert_information,
    pixels_between,
)
from sk_payne.inspection._display import BunchDisplay
from sk_payne.inspection._sensitivity import sensitivity

__all__ = ["BestWindowsDisplay", "best_windows"]


def best_windows(emulator, P, label, *, snr=100, width=5.0, n_best=5, fixed=()):
    """Find the windows of a spectrum in which the error of one label is smallest.

    Windows of one width cover the grid in steps of a quarter of the width. They do not
    cross gaps of the grid; segments narrower than the width have none.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted emulator of continuum-normalised flux.
    P : array-like of shape (n_spectra, n_labels)
        Stellar parameters; errors are medians over these stars.
    label : str
        Name of the label, such as "Mg_H".
    snr : float, default=100
        Signal-to-noise ratio per pixel, as in :func:`cramer_rao`. Errors are inversely
        proportional to it; the order of windows does not depend on it.
    width : float, default=5.0
        Width of a window in Å.
    n_best : int, default=5
        Largest number of windows to choose; they do not overlap.
    fixed : sequence of str, default=()
        Other labels that are known. The remaining labels are free: they are determined
        from the window as well.

    Returns
    -------
    windows : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        windows : ndarray of shape (n_windows, 2)
            First and last wavelength in Å of all windows.
        error : ndarray of shape (n_windows,)
            1 sigma error of the label from a window alone, with other labels free
            unless fixed.
        error_known : ndarray of shape (n_windows,)
            1 sigma error of the label from a window alone, with all others known.
        best : ndarray of shape (at most n_best,), int
            Numbers of the windows with the smallest `error`, the best first.
        whole_error : float
            1 sigma error of the label from the whole spectrum.
        label, unit : str
            Name and unit of the label.
        medium : {"air", "vacuum"} or None
            Medium of the wavelengths; None for pixels.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If an argument is not allowed.

    Examples
    --------
    >>> import sk_payne
    >>> from sk_payne.inspection import best_windows
    >>> emulator = sk_payne.load("dwarfs-4500-4600")
    >>> P = [(emulator.label_low_ + emulator.label_high_) / 2]
    >>> result = best_windows(emulator, P, "Mg_H", width=4, n_best=2)
    >>> result.windows[result.best].shape
    (2, 2)
    """
    snr = checked_snr(snr)
    width = without_unit(width, argument="width", unit="Angstrom")
    s = sensitivity(emulator, P)
    free = free_labels_of(s, fixed)
    names = [s.label_names[i] for i in free]
    if label not in names:
        raise ValueError(
            f"`label` must be one of the free labels {names}; got {label!r}."
            f"{did_you_mean(label, s.label_names)}"
        )
    ends = [s.wavelength[part][[0, -1]] for part in segments_of(s.wavelength)]
    widest = max(high - low for low, high in ends)
    if not 0 < width <= widest:
        raise ValueError(
            f"`width` must be positive and at most {widest:.4g} Å, the widest range "
            f"that the emulator covers without a gap; got {width!r}."
        )
    start = np.concatenate(
        [np.arange(low, high - width * (1 - 1e-9), width / 4) for low, high in ends]
    )
    windows = np.stack([start, start + width], axis=1)
    i = names.index(label)
    slopes = snr * s.derivative[:, free]
    errors = np.array(
        [_errors(slopes[..., pixels_between(s.wavelength, *w)], i) for w in windows]
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


def _errors(slopes, i):
    """Median errors of label i, with the others free and with them known."""
    with np.errstate(divide="ignore"):
        free = [np.sqrt(invert_information(slope @ slope.T)[i, i]) for slope in slopes]
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


class BestWindowsDisplay(BunchDisplay):
    """Error of one label against the wavelength of a window.

    Parameters
    ----------
    found : Bunch
        Result of :func:`best_windows`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with a logarithmic error.
    spans_ : list of matplotlib artists
        Areas of the best windows.
    figure_ : matplotlib Figure
        Figure of the plot; :meth:`plot` sets all.

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

    _compute = staticmethod(best_windows)

    def __init__(self, found):
        self.found = found

    @property
    def center(self):
        """Centres of the windows in Å."""
        return self.found.windows.mean(axis=1)

    def plot(self, ax=None, *, line_kwargs=None):
        """Draw the errors and mark the best windows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure.
        line_kwargs : dict, default=None
            Style of the line of errors with other labels free.

        Returns
        -------
        display : BestWindowsDisplay
            Itself.
        """
        f = self.found
        ax = self._on_axes(ax, (9, 3.2))
        self.spans_ = [
            ax.axvspan(*f.windows[i], color="C1", alpha=0.25, lw=0) for i in f.best
        ]
        free = {"color": "C0", "lw": 1.2, "label": "window alone"}
        # NaN between windows before and behind a gap interrupts the line
        gaps = 1 + np.flatnonzero(f.windows[1:, 0] > f.windows[:-1, 1])
        center, error, error_known = (
            np.insert(np.asarray(part, dtype=float), gaps, np.nan)
            for part in (self.center, f.error, f.error_known)
        )
        ax.plot(center, error, **free | (line_kwargs or {}))
        ax.plot(
            *(center, error_known),
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
        legend_above(ax, "left", ncols=3)
        return self
