"""Which part of a spectrum tells most about a label.

It is here because telescopes and spectrographs see a part only, and it can be chosen.
"""

import numpy as np
from sklearn.utils import Bunch

from sk_payne.exceptions import did_you_mean
from sk_payne.inputs import without_unit
from sk_payne.inspection._axes import (
    import_pyplot,
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
from sk_payne.inspection._sensitivity import sensitivity

__all__ = ["BestWindowsDisplay", "best_windows"]


def best_windows(emulator, P, label, *, snr=100, width=5.0, n_best=5, fixed=()):
    """Find the parts of a spectrum that tell most about one label.

    Windows of one width are tried all over the grid, in steps of a quarter of it, but
    not across its gaps: segments that are narrower hold none.

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
            f"`width` must be positive and at most {widest:.4g} Å, what the "
            f"emulator covers without a gap; got {width!r}."
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
        # no line where the next window begins behind a gap
        places = 1 + np.flatnonzero(f.windows[1:, 0] > f.windows[:-1, 1])
        center, error, error_known = (
            np.insert(np.asarray(part, dtype=float), places, np.nan)
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
        ax.legend(
            fontsize="small",
            ncols=3,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            frameon=False,
        )
        return self
