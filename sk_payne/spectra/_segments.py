"""The segments of a grid of wavelengths: arms and chips, with gaps between them.

Only this file decides which steps between wavelengths are gaps.
"""

from itertools import pairwise

import numpy as np

from sk_payne.exceptions import WavelengthMismatchError

__all__ = [
    "break_at_gaps",
    "check_covered",
    "check_segments",
    "describe_segments",
    "grid_segments",
    "is_covered",
    "is_gap",
    "touches_grid",
]

# A step in ln(wavelength) that is so many times the usual one is a gap.
_GAP = 10.0

# The last bits of ranges do not decide whether a grid covers them, nor does what is far
# less than a pixel of wavelengths that are asked for.
_ROUNDING, _SLACK = 1e-12, 1e-9

# Segments that a message names before it only counts them.
_N_NAMED = 8


def is_gap(wavelength):
    """Return which steps between wavelengths are gaps.

    A gap is more than ten times the median step in the logarithm of the wavelength.

    Parameters
    ----------
    wavelength : array-like of shape (P,)
        Å. Steps that are not positive, as between arms that overlap, are no gaps.

    Returns
    -------
    gap : ndarray of bool, shape (P - 1,)
        One for each step.

    Examples
    --------
    >>> from sk_payne.spectra import is_gap
    >>> is_gap([5000.0, 5000.1, 5000.2, 5010.0, 5010.1])
    array([False, False,  True, False])
    """
    steps = np.diff(np.log(np.asarray(wavelength, dtype=np.float64)))
    forward = steps[steps > 0]
    if not len(forward):
        return np.zeros(len(steps), dtype=bool)
    return steps > _GAP * np.median(forward)


def grid_segments(wavelength):
    """Split a grid of wavelengths at its gaps.

    Nothing is known in a gap: flux is interpolated within segments only.

    Parameters
    ----------
    wavelength : array-like of shape (P,)
        Å, increasing.

    Returns
    -------
    segments : list of slice
        Pixels of each segment, one segment for a grid without gaps.

    Examples
    --------
    >>> from sk_payne.spectra import grid_segments
    >>> grid_segments([5000.0, 5000.1, 5000.2, 5010.0, 5010.1])
    [slice(0, 3, None), slice(3, 5, None)]
    """
    edges = np.flatnonzero(is_gap(wavelength)) + 1
    edges = [0, *edges.tolist(), len(wavelength)]
    return [slice(*pair) for pair in pairwise(edges)]


def is_covered(lowest, highest, grid):
    """Return which ranges of wavelengths lie within one segment of a grid.

    Parameters
    ----------
    lowest, highest : array-like, any shape
        First and last wavelength of each range in Å; alike for single wavelengths.
    grid : array-like of shape (P,)
        Å, increasing.

    Returns
    -------
    covered : ndarray of bool, same shape
        False where any part of the range is in a gap or outside the grid, and for NaN.

    Examples
    --------
    >>> from sk_payne.spectra import is_covered
    >>> grid = [5000.0, 5000.1, 5000.2, 5010.0, 5010.1]
    >>> is_covered([5000.1, 5000.1, 5005.0], [5000.2, 5010.0, 5005.0], grid)
    array([ True, False, False])
    """
    first, last = _limits(grid)
    lowest, highest = np.asarray(lowest, float), np.asarray(highest, float)
    return _within(lowest, highest, first * (1 - _ROUNDING), last * (1 + _ROUNDING))


def touches_grid(lowest, highest, grid):
    """Return which ranges of wavelengths reach a segment of a grid.

    Parameters
    ----------
    lowest, highest : array-like, any shape
        First and last wavelength of each range in Å.
    grid : array-like of shape (P,)
        Å, increasing.

    Returns
    -------
    touches : ndarray of bool, same shape
        False where the whole range is in a gap or outside the grid.

    Examples
    --------
    >>> from sk_payne.spectra import touches_grid
    >>> grid = [5000.0, 5000.1, 5000.2, 5010.0, 5010.1]
    >>> touches_grid([5000.1, 5004.0, 5004.0], [5004.0, 5006.0, 5010.05], grid)
    array([ True, False,  True])
    """
    first, last = _limits(grid)
    segment = np.searchsorted(first, highest, side="right") - 1
    return (segment >= 0) & (last[segment.clip(0)] >= lowest)


def check_covered(wavelength, grid, argument="wavelength"):
    """Check that a grid covers wavelengths.

    Parameters
    ----------
    wavelength : array-like of shape (n,)
        Å, finite.
    grid : array-like of shape (P,)
        Wavelengths of the emulator in Å, increasing.
    argument : str, default="wavelength"
        Name of the wavelengths in messages.

    Raises
    ------
    WavelengthMismatchError
        If any is outside the grid or in one of its gaps.

    Examples
    --------
    >>> from sk_payne.spectra import check_covered
    >>> grid = [5000.0, 5000.1, 5000.2, 5010.0, 5010.1]
    >>> check_covered([5000.15, 5010.0], grid)
    >>> try:
    ...     check_covered([5005.0], grid)
    ... except ValueError as error:
    ...     print(str(error)[:64])
    `wavelength` must lie within 5000.000-5000.200, 5010.000-5010.10
    """
    wavelength = np.asarray(wavelength, dtype=np.float64)
    # a nanometre-sized slip is an error, the last bit of an end of a segment is not
    slack = _SLACK * grid[-1]
    first, last = _limits(grid)
    covered = _within(wavelength, wavelength, first - slack, last + slack)
    if covered.all():
        return
    one = len(first) == 1
    raise WavelengthMismatchError(
        f"`{argument}` must lie within {describe_segments(grid, 3)}, the "
        f"{'range' if one else 'segments'} of the emulator"
        f"{'' if one else ': nothing is known in the gaps between them'}; "
        f"{np.sum(~covered)} of {covered.size} do not, such as "
        f"{wavelength[~covered][0]:.3f}. Leave them out."
    )


def check_segments(segments, wavelength):
    """Check the segments of a grid, or find them.

    Parameters
    ----------
    segments : list of slice or None
        Pixels of each; None for those between gaps.
    wavelength : ndarray of shape (P,)
        Å, increasing.

    Returns
    -------
    segments : list of slice
        In order, of all pixels.

    Raises
    ------
    ValueError
        If they leave pixels out, or are empty or not in order.

    Examples
    --------
    >>> from sk_payne.spectra._segments import check_segments
    >>> check_segments([slice(0, 2), slice(2, None)], [5000.0, 5000.1, 5000.2])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    if segments is None:
        return grid_segments(wavelength)
    n = len(wavelength)
    parts = [part.indices(n) for part in segments]
    edges = [0, *(stop for _, stop, _ in parts)]
    in_order = [start for start, _, _ in parts] == edges[:-1] and edges[-1] == n
    if not in_order or any(stop <= start or step != 1 for start, stop, step in parts):
        raise ValueError(
            f"`segments` must be slices that cut the {n} wavelengths into parts, one "
            f"behind the other; got {segments}. Leave it out to cut at gaps."
        )
    return [slice(start, stop) for start, stop, _ in parts]


def describe_segments(grid, decimals=1):
    """Name the segments of a grid, for messages and cards.

    Parameters
    ----------
    grid : array-like of shape (P,)
        Å, increasing.
    decimals : int, default=1
        Decimals of the wavelengths.

    Returns
    -------
    text : str
        First and last wavelength of each segment, with the unit; of many segments the
        first ones and how many more there are.

    Examples
    --------
    >>> from sk_payne.spectra import describe_segments
    >>> describe_segments([5000.0, 5000.1, 5000.2, 5010.0, 5010.1])
    '5000.0-5000.2, 5010.0-5010.1 Å'
    """
    limits = list(zip(*_limits(grid), strict=True))
    named = ", ".join(
        f"{first:.{decimals}f}-{last:.{decimals}f}" for first, last in limits[:_N_NAMED]
    )
    more = len(limits) - _N_NAMED
    return f"{named} Å" + (f" and {more} more segments" if more > 0 else "")


def break_at_gaps(wavelength, *values):
    """Put a NaN into each gap of a grid, so that a figure draws no line across it.

    Parameters
    ----------
    wavelength : array-like of shape (P,)
        Å, increasing.
    *values : array-like of shape (..., P)
        Values that are drawn over it.

    Returns
    -------
    broken : list of ndarray
        The wavelengths and the values, longer by the number of gaps.

    Examples
    --------
    >>> from sk_payne.spectra import break_at_gaps
    >>> x, y = break_at_gaps([5000.0, 5001.0, 5002.0, 5100.0, 5101.0], range(5))
    >>> y
    array([ 0.,  1.,  2., nan,  3.,  4.])
    """
    places = np.flatnonzero(is_gap(wavelength)) + 1
    return [
        np.insert(np.asarray(part, dtype=np.float64), places, np.nan, axis=-1)
        for part in (wavelength, *values)
    ]


def _limits(grid):
    """First and last wavelength of each segment, two arrays of shape (S,)."""
    grid, segments = np.asarray(grid, dtype=np.float64), grid_segments(grid)
    return (
        grid[[part.start for part in segments]],
        grid[[part.stop - 1 for part in segments]],
    )


def _within(lowest, highest, first, last):
    """Return which ranges lie within one of the segments from `first` to `last`."""
    segment = np.searchsorted(first, lowest, side="right") - 1
    return (segment >= 0) & (lowest <= highest) & (highest <= last[segment.clip(0)])
