"""Positions of pixels in velocity, for correlated errors."""

import numpy as np

from sk_payne.spectra import C_KMS

__all__ = ["pixel_positions"]

# Distance between the last pixel of an arm and the first of the next, in km/s.
_FAR = 1e9


def pixel_positions(wavelength, arm=None):
    r"""Compute positions of pixels, :math:`c \ln\lambda`, with arms far apart.

    Parameters
    ----------
    wavelength : ndarray of shape (n, P)
        Wavelengths in Å, increasing in each arm.
    arm : ndarray of shape (n, P), default=None
        Arm of each pixel.

    Returns
    -------
    positions : ndarray of shape (n, P)
        Positions in km/s, from 0 and never decreasing.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._pixel_positions import pixel_positions
    >>> pixel_positions(np.array([[5000.0, 5001.0]])).round(2)
    array([[ 0.  , 59.95]])
    """
    steps = np.diff(C_KMS * np.log(wavelength), axis=1, prepend=np.nan)
    steps[:, 0] = 0.0
    if arm is not None:
        steps[:, 1:][np.diff(arm, axis=1) != 0] = _FAR
    return np.cumsum(np.maximum(steps, 0.0), axis=1)
