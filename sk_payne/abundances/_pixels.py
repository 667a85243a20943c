"""Widths of observed pixels, and holes between them."""

import numpy as np

from sk_payne.spectra import C_KMS

__all__ = ["is_hole", "pixel_widths"]

# Ratio of a step to a neighbouring step above which it is a hole.
_HOLE = 1.5


def is_hole(steps, at_least=0.0):
    """Find the steps between pixels that skip absent pixels.

    Steps may grow along a spectrum: a hole is larger than a step beside it. Gaps that
    end a segment of the continuum are wider, see :func:`sk_payne.spectra.is_gap`.

    Parameters
    ----------
    steps : ndarray of shape (B, P - 1)
        Steps in the logarithm of the wavelength, or in velocity; NaN for no step.
    at_least : float, default=0.0
        Smallest width of a hole in median steps. Steps alternate where the pixels of
        two arms are sorted together, and none of them is a hole.

    Returns
    -------
    hole : ndarray of bool, shape (B, P - 1)
        True for holes; False for NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._pixels import is_hole
    >>> is_hole(np.array([[1.0, 1.0, 5.0, 1.0]]))
    array([[False, False,  True, False]])
    """
    if not steps.shape[1]:
        return np.zeros(steps.shape, dtype=bool)
    hole = steps > _HOLE * np.fmin(*_beside(steps))
    if at_least:
        forward = (row[row > 0] for row in steps)
        median = [np.median(row) if len(row) else 0.0 for row in forward]
        hole &= steps > at_least * np.array(median)[:, None]
    return hole


def pixel_widths(wavelength, arm=None):
    """Compute widths of pixels, with edges midway between their centres.

    Parameters
    ----------
    wavelength : ndarray of shape (B, P)
        Wavelengths in Å, increasing within each arm.
    arm : ndarray of shape (B, P), default=None
        Arm of each pixel.

    Returns
    -------
    width : ndarray of shape (B, P)
        Widths in km/s. Beside a hole and at the ends of an arm, the width is the step
        to the other side; an isolated pixel has the median width of the star.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._pixels import pixel_widths
    >>> wavelength = np.array([[5000.0, 5000.1, 5000.2, 5003.0, 5003.1]])
    >>> pixel_widths(wavelength).round(1)
    array([[6., 6., 6., 6., 6.]])
    """
    steps = C_KMS * np.diff(np.log(wavelength), axis=1)
    if arm is not None:
        steps = np.where(np.diff(arm, axis=1) == 0, steps, np.nan)
    steps = np.where(is_hole(steps), np.nan, steps)
    before, behind = _beside(steps, of_pixels=True)
    before, behind = (
        np.where(np.isnan(before), behind, before),
        np.where(np.isnan(behind), before, behind),
    )
    width = (before + behind) / 2
    is_finite = ~np.isnan(width)
    median = [
        np.median(w[k]) if k.any() else 0.0
        for w, k in zip(width, is_finite, strict=True)
    ]
    return np.where(is_finite, width, np.array(median)[:, None])


def _beside(steps, *, of_pixels=False):
    """Return the steps before and behind each step or pixel; NaN at the ends."""
    end = 1 if of_pixels else 0
    padded = np.pad(steps, ((0, 0), (1, 1)), constant_values=np.nan)
    n = steps.shape[1] + end
    return padded[:, :n], padded[:, 2 - end :][:, :n]
