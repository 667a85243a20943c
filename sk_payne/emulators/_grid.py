"""The wavelengths of an emulator: checks, and what the networks see of them.

It is here so that Å, medium and range are judged in one place.
"""

import numpy as np
import torch

from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.spectra import check_medium

__all__ = [
    "check_flux",
    "check_grid",
    "check_query",
    "check_resolving_power",
    "log_grid",
    "name_bad_rows",
]

# Stellar photospheres are dark below the Lyman limit; nm and µm are small numbers.
_SHORTEST = 900.0

# Without wavelengths, pixels are taken to sample R = 100 000: steps of 1e-5 in ln.
_PIXEL_DEX = 1e-5 / np.log(10)


def check_flux(flux):
    """Check that flux has a column for each wavelength.

    Parameters
    ----------
    flux : ndarray
        The argument `y`.

    Raises
    ------
    ValueError
        If it is one-dimensional.
    """
    if flux.ndim == 1:
        raise ValueError(
            "`y` (flux F) must have the shape (n_spectra, n_wavelengths); got "
            f"{flux.shape}. Reshape a single wavelength with y.reshape(-1, 1)."
        )


def name_bad_rows(flux, error):
    """Say which spectra are not finite, if that is what an error is about.

    Parameters
    ----------
    flux : array-like
        The argument `y`.
    error : ValueError
        What the validation found.

    Raises
    ------
    ValueError
        With the words of `error`, and the rows.
    """
    if "Input y contains" not in str(error):
        return
    values = np.asarray(flux, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    raise ValueError(
        f"{error} {len(bad)} of {len(values)} spectra are not finite everywhere, the "
        f"first is row {bad[0]}. Leave them out, or the wavelengths."
    ) from error


def check_grid(wavelength, medium, n_wavelengths):
    """Check the wavelengths of the training set.

    Parameters
    ----------
    wavelength : array-like of shape (n_wavelengths,) or None
        Å.
    medium : {"air", "vacuum"} or None
        Must be given with `wavelength`.
    n_wavelengths : int
        Columns of the flux.

    Returns
    -------
    wavelength : ndarray of shape (n_wavelengths,), float64, or None
        A copy.
    medium : str or None
        As given.

    Raises
    ------
    TypeError
        If the wavelengths carry a unit.
    ValueError
        If they are not increasing, not in Å, not as many as the flux has columns, or
        come without medium.
    """
    if wavelength is None:
        if medium is not None:
            check_medium(medium)
        return None, medium
    wavelength = _as_floats(wavelength)
    if wavelength.shape != (n_wavelengths,):
        raise ValueError(
            f"`wavelength` must have one value for each of the {n_wavelengths} columns "
            f"of the flux; got an array of shape {wavelength.shape}."
        )
    if not np.all(np.isfinite(wavelength)) or np.any(np.diff(wavelength) <= 0):
        raise ValueError(
            "`wavelength` must be finite and strictly increasing; sort it, and the "
            "columns of the flux with it. The first fault is at index "
            f"{_first_fault(wavelength)}."
        )
    if wavelength[0] < _SHORTEST:
        raise ValueError(
            f"`wavelength` must be in Å; {wavelength[0]:g} to {wavelength[-1]:g} looks "
            "like nm or µm. Multiply nm by 10 and µm by 10 000."
        )
    if medium is None:
        raise ValueError(
            "`medium` must be given with `wavelength`: 'air' or 'vacuum'. They differ "
            "by 80 km/s."
        )
    return wavelength, check_medium(medium)


def check_resolving_power(resolving_power):
    """Check the resolving power of the training set.

    Parameters
    ----------
    resolving_power : float or None
        Wavelength over full width at half maximum.

    Returns
    -------
    resolving_power : float or None
        As given.

    Raises
    ------
    ValueError
        If it is not positive.
    """
    if resolving_power is None:
        return None
    if not (np.ndim(resolving_power) == 0 and resolving_power > 0):
        raise ValueError(
            "`resolving_power` must be a positive number, wavelength over full width "
            f"at half maximum, or None if it is not known; got {resolving_power!r}."
        )
    return float(resolving_power)


def check_query(wavelength, grid):
    """Check wavelengths at which flux is asked for.

    Parameters
    ----------
    wavelength : array-like of shape (n,)
        Å.
    grid : ndarray of shape (n_wavelengths,) or None
        Of the emulator.

    Returns
    -------
    wavelength : ndarray of shape (n,), float64
        A copy.

    Raises
    ------
    ValueError
        If the emulator has no wavelengths, or these are not a 1-D array of numbers.
    WavelengthMismatchError
        If any is outside the grid.
    """
    if grid is None:
        raise ValueError(
            "`wavelength` cannot be chosen: the emulator was trained without; pass "
            "`wavelength=` and `medium=` to SpectrumEmulator."
        )
    wavelength = _as_floats(wavelength)
    if wavelength.ndim != 1 or not np.all(np.isfinite(wavelength)):
        raise ValueError(
            "`wavelength` must be a 1-D array of finite numbers; got shape "
            f"{wavelength.shape}."
        )
    # a nanometre-sized slip is an error, the last bit of the grid's own ends is not
    slack = 1e-9 * grid[-1]
    outside = (wavelength < grid[0] - slack) | (wavelength > grid[-1] + slack)
    if outside.any():
        raise WavelengthMismatchError(
            f"`wavelength` must lie within {grid[0]:.3f}-{grid[-1]:.3f} Å, the range "
            f"of the emulator; {outside.sum()} of {len(wavelength)} do not, such as "
            f"{wavelength[outside][0]:.3f}. Leave them out."
        )
    return wavelength


def log_grid(wavelength, n_wavelengths):
    """Return what a network takes for the training grid.

    Parameters
    ----------
    wavelength : ndarray of shape (n_wavelengths,) or None
        Å.
    n_wavelengths : int
        Number of pixels if there are no wavelengths.

    Returns
    -------
    log_wavelength : Tensor of shape (n_wavelengths,), float64
        log10 of the wavelength in Å, or of pixels as if they sampled R = 100 000.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.emulators._grid import log_grid
    >>> log_grid(np.array([1000.0, 10000.0]), 2)
    tensor([3., 4.], dtype=torch.float64)
    """
    if wavelength is None:
        # from one: at zero all sines vanish, and a zero code starts without gradients
        return torch.arange(1, n_wavelengths + 1, dtype=torch.float64) * _PIXEL_DEX
    return torch.from_numpy(np.log10(wavelength))


def _as_floats(wavelength):
    if hasattr(wavelength, "unit"):
        raise TypeError(
            "`wavelength` must be plain numbers in Å, got a quantity in "
            f"{wavelength.unit}; pass wavelength.to_value('angstrom')."
        )
    return np.array(wavelength, dtype=np.float64)


def _first_fault(wavelength):
    good = np.isfinite(wavelength)
    good[1:] &= np.diff(wavelength) > 0
    return int(np.argmin(good))
