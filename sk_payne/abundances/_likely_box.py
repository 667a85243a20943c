"""Likely part of the bounds of labels, by fixed values and priors of a star.

Fits start from model spectra with labels in this part.
"""

import numpy as np

__all__ = ["likely_box"]

# Number of cells along each label. Stars with the same likely cells share their model
# spectra.
_N_CELLS = 8

# Half width of the likely range in standard deviations of a prior.
_LIKELY = 2.0


def likely_box(constraints, low, high):
    """Find the cells of the bounds in which the labels of a star are likely.

    Parameters
    ----------
    constraints : Constraints
        Fixed values and priors of one star; labels come first.
    low, high : ndarray of shape (n_labels,)
        Bounds of the labels, in their units.

    Returns
    -------
    box : tuple of tuple of float, or None
        Lower and upper end of each label, as fractions of its bounds: around fixed
        values, and two standard deviations around the means of priors, rounded
        outwards to eighths. None if this is the whole range of all labels.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._constraints import Constraints
    >>> from sk_payne.abundances._likely_box import likely_box
    >>> star = Constraints(
    ...     value=np.array([[np.nan, 1.0]]),
    ...     mean=np.array([[5000.0, 0.0]]),
    ...     error=np.array([[100.0, np.inf]]),
    ... )
    >>> likely_box(star, np.array([4000.0, 0.0]), np.array([6000.0, 2.0]))
    ((0.375, 0.625), (0.5, 0.625))
    """
    is_wide = high > low
    size = np.where(is_wide, high - low, 1.0)
    value, mean, error = (
        part[0, : len(low)]
        for part in (constraints.value, constraints.mean, constraints.error)
    )
    is_fixed = np.isfinite(value)
    center = np.where(is_fixed, value, mean)
    reach = np.where(is_fixed, 0.0, _LIKELY * error)
    first, last = (
        ((center + side * reach - low) / size * _N_CELLS).clip(0, _N_CELLS)
        for side in (-1, 1)
    )
    first = np.where(is_wide, np.floor(first).clip(0, _N_CELLS - 1), 0.0)
    last = np.where(is_wide, np.maximum(np.ceil(last), first + 1), _N_CELLS)
    if (first == 0).all() and (last == _N_CELLS).all():
        return None
    ends = (first / _N_CELLS).tolist(), (last / _N_CELLS).tolist()
    return tuple(zip(*ends, strict=True))
