"""Width of the instrument of observed spectra, beyond that of the emulator."""

import warnings

import numpy as np

from sk_payne.abundances._observation import as_numbers
from sk_payne.exceptions import ResolutionWarning
from sk_payne.spectra import is_covered, velocity_sigma

__all__ = ["check_power_limits", "instrument_width", "own_resolution", "warn_unstated"]

# Stated resolving powers that exceed that of the emulator by less than this fraction
# are taken as equal: nominal values are rounded.
_SAME_POWER = 0.01


def own_resolution(emulator, spectra, observation, wavelength):
    """Find the width of the instrument beyond that of the emulator, and its matrix.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    spectra : SpectrumSet
        Spectra of n stars.
    observation : Observation
        Checked observation, whose resolving power is not fitted.
    wavelength : ndarray of shape (P,) or (n, P), or None
        Wavelengths of the pixels in Å; None for those of the emulator.

    Returns
    -------
    sigma : float or ndarray of shape (n, P)
        Standard deviation of a Gaussian in km/s.
    matrix : ndarray of shape (n, P, d) or None
        Rows of resolution matrices.

    Raises
    ------
    ValueError
        If a resolving power contradicts that of the emulator or the spectra.
    """
    matrix, resolving_power = None, observation.resolving_power
    if observation.has_emulator_power:
        return 0.0, None
    if resolving_power is None:
        matrix, resolving_power = spectra.resolution_matrix, spectra.resolving_power
        if resolving_power is None:
            return 0.0, matrix
        if matrix is not None:
            # a matrix is more exact than a resolving power
            has_matrix = ~_is_sharp(matrix)[:, None]
            resolving_power = np.where(has_matrix, np.nan, resolving_power)
        if emulator.resolving_power is None:
            if np.isfinite(resolving_power).any():
                warnings.warn(
                    "The spectra state their resolving power, but the emulator does "
                    "not know its own: the instrument is ignored. Pass "
                    "`resolving_power=` to SpectrumEmulator.",
                    stacklevel=5,
                )
            return 0.0, matrix
    if np.ndim(resolving_power):
        try:
            np.broadcast_to(resolving_power, spectra.shape)
        except ValueError as error:
            raise ValueError(
                "`resolving_power` must be one number, or one for each pixel of "
                f"spectra of shape {spectra.shape}; got the shape "
                f"{np.shape(resolving_power)}."
            ) from error
    sigma = instrument_width(emulator, resolving_power, wavelength)
    if np.ndim(sigma):
        sigma = np.broadcast_to(sigma, spectra.shape)
    return sigma, matrix


def _is_sharp(matrix):
    """Check for each star whether its matrix is the unit matrix, as for no matrix."""
    middle = matrix.shape[2] // 2
    others = np.delete(matrix, middle, axis=2)
    return (matrix[:, :, middle] == 1).all(axis=1) & ~others.any(axis=(1, 2))


def warn_unstated(emulator, spectra):
    """Warn of spectra of unknown resolving power, taken as that of the emulator.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    spectra : SpectrumSet
        Spectra of n stars.

    Warns
    -----
    ResolutionWarning
        If a spectrum states no resolving power, but the emulator has one.
    """
    if emulator.resolving_power is None or spectra.wavelength is None:
        return
    unknown = spectra.ivar > 0
    if spectra.resolving_power is not None:
        unknown = unknown & np.isnan(spectra.resolving_power)
    if spectra.resolution_matrix is not None:
        unknown = unknown & _is_sharp(spectra.resolution_matrix)[:, None]
    rows = np.flatnonzero(unknown.any(axis=1))
    if len(rows):
        powers = np.unique(np.round(emulator.resolving_power))[[0, -1]]
        listed = " to ".join(f"{power:g}" for power in sorted(set(powers)))
        warnings.warn(
            f"{len(rows)} of {len(spectra)} spectra state no resolving power, the "
            f"first is spectrum {rows[0]}. They are taken to have that of the "
            f"emulator, {listed}. If theirs is lower, labels are wrong, and no flag "
            "shows it: [Fe/H] was off by 7 of its errors for spectra of 20 000 and an "
            "emulator of infinite resolving power. Pass Observation(resolving_power=): "
            "theirs, or 'emulator' if they are as sharp. Or set "
            'spectrum.meta["resolving_power"].',
            ResolutionWarning,
            stacklevel=5,
        )


def check_power_limits(emulator, limits):
    """Check limits between which the resolving power is fitted.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    limits : tuple of float
        Smallest and largest resolving power.

    Returns
    -------
    limits : tuple of float
        The same limits.

    Raises
    ------
    ValueError
        If the resolving power of the emulator differs between wavelengths, or is lower.
    """
    if np.ndim(emulator.resolving_power):
        raise ValueError(
            "`resolving_power` must not be a tuple of limits for an emulator whose "
            "resolving power differs between wavelengths; got "
            f"{limits!r}. Pass one number, or a list or array of one per pixel."
        )
    low, high = map(float, limits)
    instrument_width(emulator, high)
    return low, high


def instrument_width(emulator, resolving_power, wavelength=None):
    """Compute the width of the Gaussian between an emulator and an instrument.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    resolving_power : float, array-like or None
        Resolving power of the instrument, one number or one per pixel.
    wavelength : ndarray of shape (P,) or (n, P), default=None
        Wavelengths of the pixels in Å; None for those of the emulator.

    Returns
    -------
    sigma : float or ndarray
        Standard deviation in km/s; 0 if `resolving_power` is None. Resolving powers up
        to 1 % above that of the emulator count as equal to it.

    Raises
    ------
    ValueError
        If the resolving power of the emulator is unknown, or lower than that of the
        spectra.

    Examples
    --------
    >>> from sk_payne import AbundanceRegressor, Observation, load
    >>> from sk_payne.abundances import fitted_emulator_of, instrument_width
    >>> emulator = load("dwarfs-4500-4600")
    >>> fitted = fitted_emulator_of(AbundanceRegressor(emulator))
    >>> float(round(instrument_width(fitted, 20_000), 2))  # km/s; from R = 50 000
    5.83
    """
    if resolving_power is None:
        return 0.0
    if emulator.resolving_power is None:
        raise ValueError(
            "`resolving_power` must be None for an emulator that does not know its "
            f"own; got {resolving_power}. Pass `resolving_power=` to "
            "SpectrumEmulator: that of its training spectra, np.inf if they were not "
            "smeared by an instrument."
        )
    power = as_numbers(resolving_power)
    if power.ndim == 0 and np.isnan(power):
        raise ValueError(
            "`resolving_power` must be a positive number, one for each pixel, a tuple "
            "of a smallest and a largest one, 'emulator' or None; got "
            f"{resolving_power!r}."
        )
    of_emulator = emulator.resolving_power
    if np.ndim(of_emulator) and wavelength is not None:
        of_emulator = of_emulator[_nearest(emulator.wavelength, wavelength)]
    power = np.where(
        (power > of_emulator) & (power <= of_emulator * (1 + _SAME_POWER)),
        of_emulator,
        power,
    )
    if power.ndim == 0 and np.ndim(of_emulator) == 0:
        return float(velocity_sigma(power, of_emulator))
    # NaN, for ignored pixels, adds no width
    power = np.where(np.isnan(power), of_emulator, power)
    if np.ndim(of_emulator) and wavelength is not None:
        # pixels that the emulator does not cover are not used: any value is accepted
        covered = is_covered(wavelength, wavelength, emulator.wavelength)
        power = np.where(covered, power, np.minimum(power, of_emulator))
    return velocity_sigma(power, of_emulator)


def _nearest(grid, wavelength):
    """Index of the grid point nearest to each wavelength."""
    place = np.searchsorted(grid, wavelength).clip(1, max(len(grid) - 1, 1))
    place = place.clip(max=len(grid) - 1)
    before = np.maximum(place - 1, 0)
    is_before = wavelength - grid[before] < grid[place] - wavelength
    return np.where(is_before, before, place)
