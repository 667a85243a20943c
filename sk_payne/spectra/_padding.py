"""Padding: pixels that pipelines fill with a constant where they have no data.

Most files do not mark them, and an error beside them makes them look good.
"""

import numpy as np

__all__ = ["find_padding"]

# Flux that was measured is exactly zero in no more neighbours than that.
_LONGEST_RUN_OF_ZEROS = 2
# A zero of which the error is so small, next to other errors, was not measured.
_TINY_ERROR = 0.01
# A constant end has at least so many pixels, and so many times those of any constant
# stretch inside: rounded flux has short ones everywhere.
_SHORTEST_END, _END_OVER_INSIDE = 10, 3


def find_padding(flux, error=None):
    """Find the pixels that hold a constant instead of data.

    Parameters
    ----------
    flux : ndarray of shape (n_pixels,)
        In any unit.
    error : None or ndarray of shape (n_pixels,)
        Error (1 sigma) of the flux.

    Returns
    -------
    padding : ndarray of bool, shape (n_pixels,)
        True where flux is exactly zero in three neighbours or more, where it is zero
        with an error below a hundredth of the median, and where one value fills ten
        pixels or more at an end. All False if one value other than zero fills the
        whole spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.spectra._padding import find_padding
    >>> find_padding(np.array([0.0, 0.0, 0.0, 0.9, 0.0, 0.8]))
    array([ True,  True,  True, False, False, False])
    """
    starts, lengths = _runs(flux)
    run = np.repeat(np.arange(len(starts)), lengths)
    value = flux[starts]
    is_padding = (value == 0) & (lengths > _LONGEST_RUN_OF_ZEROS)
    inside = lengths[1:-1][value[1:-1] != 0]
    longest = max(_SHORTEST_END, _END_OVER_INSIDE * inside.max(initial=1))
    if len(starts) > 1:
        is_padding[[0, -1]] |= lengths[[0, -1]] >= longest
    padding = is_padding[run]
    if error is not None:
        known = error[(flux != 0) & np.isfinite(error) & (error > 0)]
        if known.size:
            padding |= (flux == 0) & (error < _TINY_ERROR * np.median(known))
    return padding


def _runs(flux):
    """Return where each run of one value starts, and its length."""
    starts = np.flatnonzero(np.r_[True, flux[1:] != flux[:-1]])
    return starts, np.diff(np.r_[starts, len(flux)])
