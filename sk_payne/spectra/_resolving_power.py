"""The resolving power of a grid of wavelengths: one number, or one for each arm.

One rule serves emulators and spectra of several arms.
"""

import numpy as np

from sk_payne.spectra._segments import describe_segments, grid_segments

__all__ = [
    "describe_resolving_power",
    "resolve_resolving_power",
    "resolving_power_of_segments",
]


def resolve_resolving_power(resolving_power, wavelength=None):
    """Give the resolving power at each wavelength of a grid.

    Parameters
    ----------
    resolving_power : float, array-like or None
        Wavelength over full width at half maximum; np.inf without an instrument. One
        number, one for each wavelength, or one for each segment between gaps of the
        grid, in the order of wavelength. None if it is not known.
    wavelength : array-like of shape (P,), default=None
        Wavelengths of the grid in Å, increasing; None if there are none.

    Returns
    -------
    resolving_power : float, ndarray of shape (P,) or None
        A float if it is the same everywhere.

    Raises
    ------
    ValueError
        If it is not positive, or is a sequence of another length.

    See Also
    --------
    grid_segments : The segments.

    Examples
    --------
    >>> from sk_payne.spectra import resolve_resolving_power
    >>> grid = [5000.0, 5000.1, 5000.2, 6000.0, 6000.1]
    >>> resolve_resolving_power([20000, 15000], grid)
    array([20000., 20000., 20000., 15000., 15000.])
    >>> resolve_resolving_power(22500, grid)
    22500.0
    """
    if resolving_power is None:
        return None
    power = _as_array(resolving_power)
    if power.ndim > 1 or not (power > 0).all():
        raise ValueError(
            "`resolving_power` must be a positive number, wavelength over full width "
            "at half maximum, one for each wavelength or segment of the grid, or None "
            f"if it is not known; got {resolving_power!r}."
        )
    if power.ndim == 0:
        return float(power)
    if wavelength is None:
        raise ValueError(
            "`resolving_power` must be one number, or None, if there are no "
            f"wavelengths; got {len(power)} of them. Pass `wavelength=` and `medium=`, "
            "too."
        )
    segments = grid_segments(wavelength)
    if len(power) == len(segments):
        sizes = [part.stop - part.start for part in segments]
        power = np.repeat(power, sizes)
    elif len(power) != len(wavelength):
        raise ValueError(
            "`resolving_power` must be one number, one for each of the "
            f"{len(wavelength)} wavelengths, or one for each of the {len(segments)} "
            f"segments of the grid, {describe_segments(wavelength)}; got {len(power)} "
            "of them."
        )
    return float(power[0]) if (power == power[0]).all() else power


def resolving_power_of_segments(resolving_power, wavelength):
    """Give a resolving power as short as it can be said, for tables and files.

    Parameters
    ----------
    resolving_power : float, ndarray of shape (P,) or None
        As `resolve_resolving_power` gives it.
    wavelength : ndarray of shape (P,) or None
        Wavelengths of the grid in Å, increasing.

    Returns
    -------
    resolving_power : float, list of float or None
        One for each segment if it is the same all over each; else one for each
        wavelength.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.spectra import resolving_power_of_segments
    >>> power, grid = np.array([2e4, 2e4, 2e4, 1e4]), [5000, 5000.1, 5000.2, 6000]
    >>> resolving_power_of_segments(power, grid)
    [20000.0, 10000.0]
    """
    if resolving_power is None or np.ndim(resolving_power) == 0:
        return resolving_power
    parts = [resolving_power[part] for part in grid_segments(wavelength)]
    if all((part == part[0]).all() for part in parts):
        return [float(part[0]) for part in parts]
    return [float(power) for power in resolving_power]


def describe_resolving_power(resolving_power, wavelength):
    """Describe a resolving power in words, for cards and pages.

    Parameters
    ----------
    resolving_power : float, ndarray of shape (P,) or None
        As `resolve_resolving_power` gives it.
    wavelength : ndarray of shape (P,) or None
        Wavelengths of the grid in Å, increasing.

    Returns
    -------
    text : str
        One number, one for each segment, or the smallest and the largest.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.spectra import describe_resolving_power
    >>> power, grid = np.array([2e4, 2e4, 2e4, 1e4]), [5000, 5000.1, 5000.2, 6000]
    >>> describe_resolving_power(power, grid)
    '20,000, 10,000 by segment'
    """
    if resolving_power is None:
        return "not stated"
    power = resolving_power_of_segments(resolving_power, wavelength)
    if not isinstance(power, list):
        return "infinite: not broadened" if np.isinf(power) else f"{power:,.0f}"
    if len(power) == len(grid_segments(wavelength)):
        return f"{', '.join(f'{one:,.0f}' for one in power)} by segment"
    return f"{min(power):,.0f} to {max(power):,.0f}, by wavelength"


def _as_array(resolving_power):
    """Give numbers as an array of float64, and NaN for anything else."""
    try:
        power = np.asarray(resolving_power)
    except (TypeError, ValueError):  # of units, or of different lengths
        return np.asarray(np.nan)
    return power.astype(np.float64) if power.dtype.kind in "iuf" else np.asarray(np.nan)
