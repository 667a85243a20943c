"""Bounds of the labels within which a fit searches."""

import warnings
from collections.abc import Mapping

import numpy as np

from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.inputs import is_table, read_labels, read_mapping, to_floats

__all__ = ["label_bounds", "labels_within_bounds"]


def label_bounds(bounds, trained, names, units):
    """Read the argument `bounds`.

    Parameters
    ----------
    bounds : array-like of shape (n_labels, 2), mapping, table or None
        Smallest and largest value of all labels, or of the named ones.
    trained : ndarray of shape (n_labels, 2) or None
        Training range of each label.
    names, units : list of str
        Names and units of the labels.

    Returns
    -------
    low, high : ndarray of shape (n_labels,)
        Bounds in the units of the labels.

    Raises
    ------
    ValueError
        If the shape or the order is wrong, or a value is not finite.

    Warns
    -----
    ExtrapolationWarning
        If bounds lie far outside the training range.
    """
    if bounds is None:
        box = np.array(trained, dtype=np.float64)
    elif isinstance(bounds, Mapping) or is_table(bounds):
        box = _named_bounds(bounds, trained, names, units)
    else:
        box = _listed_bounds(bounds, units)
    good = box.shape == (len(names), 2) and np.isfinite(box).all()
    if not good or (box[:, 0] > box[:, 1]).any():
        raise ValueError(
            f"`bounds` must have the shape ({len(names)}, 2), smallest and largest "
            f"value of each label, both finite; got {box.tolist()}."
        )
    if bounds is not None and trained is not None:
        _warn_far(box, trained, names, units)
    return box.T


def labels_within_bounds(labels, names, units, low, high, n_stars=None):
    """Read labels of stars, which must lie within the bounds of a fit.

    Parameters
    ----------
    labels : array-like or table of shape (n_stars, n_labels)
        Labels of each star; columns of a table are found by name.
    names, units : list of str
        Names and units of the labels.
    low, high : ndarray of shape (n_labels,)
        Bounds.
    n_stars : int, default=None
        Number of stars; any number of at least one if None.

    Returns
    -------
    labels : ndarray of shape (n_stars, n_labels), float64
        Labels in `units`.

    Raises
    ------
    ValueError
        If the shape is wrong, or a label is not finite or outside the bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances import labels_within_bounds
    >>> low, high = np.array([4000.0, -2.0]), np.array([6000.0, 1.0])
    >>> labels_within_bounds([[5000, 0]], ["teff", "Fe_H"], ["K", "dex"], low, high)
    array([[5000.,    0.]])
    """
    table = read_labels(labels, argument="labels", names=names, units=units)
    labels = np.array(table.values, dtype=np.float64)
    n = len(labels) if n_stars is None else n_stars
    if labels.shape != (n, len(names)) or not n:
        stars = "star" if n_stars is None else f"of the {n_stars} stars"
        raise ValueError(
            f"`labels` must have one row for each {stars} and one column for each of "
            f"{names}; got an array of shape {labels.shape}."
        )
    outside = ~((labels >= low) & (labels <= high))
    if outside.any():
        star, i = np.argwhere(outside)[0]
        raise ValueError(
            f"`labels` must be finite and within the bounds; got {names[i]} = "
            f"{labels[star, i]} of star {star}, not in {low[i]} to {high[i]}. Leave "
            "out such stars, or widen `bounds`."
        )
    return labels


def _listed_bounds(bounds, units):
    """Bounds of all labels, each row in the unit of its label."""
    if len(bounds) == len(units):
        rows = [
            to_floats(row, argument=f"bounds[{i}]", unit=unit)
            for i, (row, unit) in enumerate(zip(bounds, units, strict=True))
        ]
        if len({row.shape for row in rows}) == 1:
            return np.array(rows)
    return to_floats(bounds, argument="bounds")


def _named_bounds(named, trained, names, units):
    """Training ranges, with the bounds of the named labels replaced."""
    box = np.array(trained, dtype=np.float64)
    for name, limits in read_mapping(named, argument="bounds", names=names).items():
        i, argument = names.index(name), f"bounds[{name!r}]"
        pair = to_floats(limits, argument=argument, unit=units[i])
        if pair.shape != (2,):
            raise ValueError(
                f"`{argument}` must be a smallest and a largest value; got {limits!r}."
            )
        box[i] = pair
    return box


def _warn_far(box, trained, names, units):
    """Warn of bounds farther outside the training range than it is wide."""
    width = trained[:, 1] - trained[:, 0]
    beyond = np.maximum(trained[:, 0] - box[:, 0], box[:, 1] - trained[:, 1])
    far = np.flatnonzero(beyond > width + 1e-6 * np.abs(trained).max(axis=1))
    if len(far):
        listed = ", ".join(
            f"{names[i]} {box[i, 0]:g} to {box[i, 1]:g} {units[i]}".rstrip()
            + f" (trained on {trained[i, 0]:g} to {trained[i, 1]:g})"
            for i in far
        )
        warnings.warn(
            "`bounds` lie far outside the range that the emulator was trained on: "
            f"{listed}. It extrapolates there. Check their unit.",
            ExtrapolationWarning,
            stacklevel=5,
        )
