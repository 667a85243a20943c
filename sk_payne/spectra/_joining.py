"""Joining of sets of spectra that differ in length, wavelengths, arms or resolution."""

import numpy as np

__all__ = [
    "join_frames",
    "join_matrices",
    "join_powers",
    "join_wavelengths",
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


def join_wavelengths(sets, width):
    """Join wavelengths and arms.

    Parameters
    ----------
    sets : sequence of SpectrumSet
        Sets of one kind, see `kind`.
    width : int
        Number of pixels of the longest.

    Returns
    -------
    wavelength : ndarray of shape (width,) or (n, width), or None
        Å; one row if all sets share it. Shorter rows go on with their last step.
    arm : ndarray of int of the same shape, or None
        Arm of each pixel; the last one goes on in shorter rows.
    """
    wavelength, arm = sets[0].wavelength, sets[0].arm
    if wavelength is None or (
        wavelength.ndim == 1
        and all(
            np.array_equal(s.wavelength, wavelength) and np.array_equal(s.arm, arm)
            for s in sets
        )
    ):
        return wavelength, arm
    wavelength = np.concatenate([_continued_wavelength(one, width) for one in sets])
    if any(one.arm is not None for one in sets):
        arm = np.concatenate([_continued_arm(one, width) for one in sets])
    return wavelength, arm


def _continued_wavelength(spectra, width):
    wavelength = np.broadcast_to(spectra.wavelength, spectra.shape)
    n_pixels = wavelength.shape[1]
    step = wavelength[:, -1:] - wavelength[:, -2:-1] if n_pixels > 1 else 1.0
    extra = step * np.arange(1, width - n_pixels + 1)
    return np.hstack([wavelength, wavelength[:, -1:] + extra])


def _continued_arm(spectra, width):
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
