"""What sets of spectra have beside flux, continued to one width and joined.

It is here because sets may differ in length, wavelengths, arms and resolution.
"""

import numpy as np

__all__ = [
    "continued_arm",
    "continued_wavelength",
    "join_frames",
    "join_matrices",
    "join_powers",
    "kind",
]


def kind(spectra):
    """Give what sets must share to be joined.

    Parameters
    ----------
    spectra : SpectrumSet
        With or without wavelengths.

    Returns
    -------
    kind : tuple
        Medium, and the number of pixels of a set without wavelengths.
    """
    if spectra.wavelength is None:
        return spectra.medium, spectra.shape[1]
    return spectra.medium, None


def continued_wavelength(spectra, width):
    """Wavelengths of every star, which go on with their last step up to a width.

    Parameters
    ----------
    spectra : SpectrumSet
        With wavelengths.
    width : int
        Number of pixels wanted.

    Returns
    -------
    wavelength : ndarray of shape (n, width)
        In Å.
    """
    wavelength = np.broadcast_to(spectra.wavelength, spectra.shape)
    n_pixels = wavelength.shape[1]
    step = wavelength[:, -1:] - wavelength[:, -2:-1] if n_pixels > 1 else 1.0
    extra = step * np.arange(1, width - n_pixels + 1)
    return np.hstack([wavelength, wavelength[:, -1:] + extra])


def continued_arm(spectra, width):
    """Arms of every pixel of every star, of which the last goes on up to a width.

    Parameters
    ----------
    spectra : SpectrumSet
        With or without arms.
    width : int
        Number of pixels wanted.

    Returns
    -------
    arm : ndarray of int, shape (n, width)
        All 0 for a set without arms.
    """
    arm = np.broadcast_to(0 if spectra.arm is None else spectra.arm, spectra.shape)
    return np.pad(arm, ((0, 0), (0, width - arm.shape[1])), mode="edge")


def join_frames(sets):
    """Join the frames of wavelengths.

    Parameters
    ----------
    sets : sequence of SpectrumSet
        In their order.

    Returns
    -------
    frame : None or ndarray of str, shape (n,)
        "" where it is not known; None if no set has any.
    """
    if all(spectra.frame is None for spectra in sets):
        return None
    return np.concatenate(
        [np.full(len(s), "") if s.frame is None else s.frame for s in sets]
    )


def join_powers(sets, width):
    """Join resolving powers, NaN where they are not known.

    Parameters
    ----------
    sets : sequence of SpectrumSet
        In their order.
    width : int
        Number of pixels of the longest.

    Returns
    -------
    powers : None or ndarray of shape (n, width)
        None if no set has any.
    """
    if all(spectra.resolving_power is None for spectra in sets):
        return None
    powers = np.full((sum(map(len, sets)), width), np.nan)
    row = 0
    for spectra in sets:
        if spectra.resolving_power is not None:
            powers[row : row + len(spectra), : spectra.shape[1]] = (
                spectra.resolving_power
            )
        row += len(spectra)
    return powers


def join_matrices(sets, width):
    """Join resolution matrices; sets that have none see sharply.

    Parameters
    ----------
    sets : sequence of SpectrumSet
        In their order.
    width : int
        Number of pixels of the longest.

    Returns
    -------
    joined : None or ndarray of shape (n, width, d)
        None if no set has one; d is that of the widest.
    """
    known = [s.resolution_matrix for s in sets if s.resolution_matrix is not None]
    if not known:
        return None
    half = max(matrix.shape[2] for matrix in known) // 2
    joined = np.zeros((sum(map(len, sets)), width, 2 * half + 1))
    row = 0
    for spectra in sets:
        block = joined[row : row + len(spectra)]
        matrix = spectra.resolution_matrix
        if matrix is None:
            block[:, :, half] = 1.0
        else:
            reach = matrix.shape[2] // 2
            seen = slice(half - reach, half + reach + 1)
            block[:, : spectra.shape[1], seen] = matrix
        row += len(spectra)
    return joined
