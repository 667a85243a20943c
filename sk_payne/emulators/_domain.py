"""Whether stellar parameters lie inside the training box of an emulator.

It is here so that extrapolation is never silent.
"""

import warnings

import numpy as np

from sk_payne.exceptions import ExtrapolationWarning

__all__ = ["warn_outside"]


def warn_outside(labels, low, high, names, *, n_training, stacklevel=3):
    """Warn once about labels outside the training box.

    Parameters
    ----------
    labels : ndarray of shape (n_spectra, n_labels)
        Stellar parameters.
    low, high : ndarray of shape (n_labels,)
        The box.
    names : sequence of str
        Of the labels.
    n_training : int
        Spectra that the box was taken from. If they are drawn uniformly, the range
        they are drawn from is larger than the one they fill, by at most
        ``ln(100) / n_training`` of it at each end with 99 % confidence: labels within
        that margin are inside.
    stacklevel : int, default=3
        Whose line the warning shows.

    Returns
    -------
    outside : ndarray of shape (n_spectra,), bool
        Rows with any label outside.

    Warns
    -----
    ExtrapolationWarning
        Naming labels, ranges and rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.emulators import warn_outside
    >>> low, high = np.array([4000.0]), np.array([6000.0])
    >>> labels = np.array([[4500.0], [6001.0]])
    >>> warn_outside(labels, low, high, ["teff"], n_training=1000)
    array([False, False])
    """
    # float32 labels of a float64 box miss its edge by rounding, not by intent
    rounding = 1e-6 * np.maximum(np.abs(low), np.abs(high))
    margin = np.log(100) / n_training * (high - low) + rounding
    beyond = (labels < low - margin) | (labels > high + margin)
    outside = beyond.any(axis=1)
    if outside.any():
        ranges = ", ".join(
            f"{names[i]} ({low[i]:g} to {high[i]:g})"
            for i in np.flatnonzero(beyond.any(axis=0))
        )
        rows = np.flatnonzero(outside)
        shown = ", ".join(map(str, rows[:5]))
        if len(rows) > 5:
            shown += f" and {len(rows) - 5} more"
        warnings.warn(
            f"{len(rows)} of {len(labels)} rows lie outside the training range of "
            f"{ranges}: rows {shown}. The emulator extrapolates there.",
            ExtrapolationWarning,
            stacklevel=stacklevel,
        )
    return outside
