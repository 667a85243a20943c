"""Nonlinear dispersions of IRAF's multispec images: wavelengths of pixels.

A dispersion is a weighted mean of functions: polynomials of Chebyshev or Legendre,
cubic or linear splines, or wavelengths of each pixel. Formulae and layout are those of
the driver WFMSPEC of IRAF (``sys/mwcs/wfmspec.x``).
"""

import numpy as np
from numpy.polynomial import chebyshev, legendre

__all__ = ["nonlinear_wavelength"]

# Largest number of coefficients; headers of IRAF have far fewer.
_MOST_COEFFICIENTS = 100_000


def nonlinear_wavelength(numbers, pixel):
    """Evaluate a nonlinear dispersion.

    Parameters
    ----------
    numbers : list of float
        One function after the other: weight, zero point, type, order, and what the type
        has. Types are 1 Chebyshev, 2 Legendre, 3 cubic spline, 4 linear spline, and
        5 wavelengths of pixels.
    pixel : ndarray of shape (n_pixels,)
        Physical pixel coordinates; the first pixel is 1.

    Returns
    -------
    wavelength : ndarray of shape (n_pixels,)
        In the unit of the image.

    Raises
    ------
    ValueError
        If the numbers are no such functions.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.spectra._iraf_functions import nonlinear_wavelength
    >>> linear_spline = [1.0, 0.0, 4, 2, 1.0, 5.0, 500.0, 510.0, 530.0]
    >>> nonlinear_wavelength(linear_spline, np.array([1.0, 2.0, 5.0]))
    array([500., 505., 530.])
    """
    total, weights = np.zeros(len(pixel)), 0.0
    while numbers:
        if len(numbers) < 4:
            raise ValueError(f"{len(numbers)} numbers are left over")
        weight, zero_point, kind, order = numbers[:4]
        if kind not in _FUNCTIONS:
            raise ValueError(f"functions of type {kind:g} are not known")
        evaluate, n_ends, n_more = _FUNCTIONS[kind]
        if order not in range(1, _MOST_COEFFICIENTS):
            raise ValueError(f"the order of a function is {order:g}")
        end = 4 + n_ends + int(order) + n_more
        if len(numbers) < end:
            raise ValueError(f"a function needs {end} numbers; {len(numbers)} are left")
        values = evaluate(pixel, numbers[4 : 4 + n_ends], numbers[4 + n_ends : end])
        total += weight * (zero_point + values)
        weights += weight
        numbers = numbers[end:]
    if not weights > 0:
        raise ValueError(f"the weights of its functions have the sum {weights:g}")
    return total / weights


def _polynomial(series):
    def evaluate(pixel, ends, coefficients):
        low, high = _range_of(ends)
        return series((2 * pixel - (high + low)) / (high - low), coefficients)

    return evaluate


def _cubic_spline(pixel, ends, coefficients):
    piece, right = _pieces(pixel, ends, len(coefficients) - 3)
    left = 1 - right
    c = np.array(coefficients)
    return (
        left**3 * c[piece]
        + (1 + 3 * left * (1 + left * right)) * c[piece + 1]
        + (1 + 3 * right * (1 + left * right)) * c[piece + 2]
        + right**3 * c[piece + 3]
    )


def _linear_spline(pixel, ends, coefficients):
    piece, right = _pieces(pixel, ends, len(coefficients) - 1)
    c = np.array(coefficients)
    return (1 - right) * c[piece] + right * c[piece + 1]


def _at_pixels(pixel, ends, coefficients):
    return np.interp(pixel, np.arange(1, len(coefficients) + 1), coefficients)


def _pieces(pixel, ends, n_pieces):
    """Give the piece of each pixel, and how far into it the pixel is, in its length."""
    low, high = _range_of(ends)
    x = (pixel - low) / (high - low) * n_pieces
    piece = np.clip(x, 0, n_pieces - 1).astype(int)
    return piece, x - piece


def _range_of(ends):
    low, high = ends
    if not high > low:
        raise ValueError(f"the range of a function is {low:g} to {high:g}")
    return low, high


# Of each type: what evaluates it, whether the range of pixels comes before the
# coefficients, and how many coefficients it has beyond the order.
_FUNCTIONS = {
    1: (_polynomial(chebyshev.chebval), 2, 0),
    2: (_polynomial(legendre.legval), 2, 0),
    3: (_cubic_spline, 2, 3),
    4: (_linear_spline, 2, 1),
    5: (_at_pixels, 0, 0),
}
