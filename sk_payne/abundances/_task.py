"""What is fitted to all stars: options that were checked, and what to start from.

It is here so that every batch of stars finds the same things prepared.
"""

import warnings
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any

import numpy as np

from sk_payne.abundances._constraints import Constraints
from sk_payne.abundances._inverted import Inverted
from sk_payne.abundances._results import VELOCITY, nuisance_unit
from sk_payne.exceptions import ResolutionWarning, WavelengthMismatchError
from sk_payne.inputs import without_unit
from sk_payne.spectra import (
    C_KMS,
    SpectrumSet,
    convert_medium,
    describe_segments,
    is_covered,
    touches_grid,
    velocity_sigma,
)

__all__ = ["Options", "Task", "is_broadened", "prepare"]

# Part by which wavelengths of one pixel may differ: 0.3 km/s.
_SAME = 1e-6

# Units of the arguments that may be quantities.
_UNITS = {name: "km/s" for name in ("velocity_range", "vsini", "vmac", "arm_offsets")}
_UNITS |= {
    name: "" for name in ("resolving_power", "limb_darkening", "error_floor", "clip")
}


@dataclass
class Options:
    """Arguments of `AbundanceRegressor`, see there."""

    velocity_range: Any = (-500.0, 500.0)
    resolving_power: Any = None
    integrate_pixels: bool = False
    vsini: Any = 0.0
    vmac: Any = 0.0
    limb_darkening: float = 0.6
    arm_offsets: Any = None
    continuum_degree: int | None = None
    fixed: Any = None
    priors: Any = None
    emulator_error: bool = True
    error_floor: Any = 0.0
    clip: float | None = None
    estimate: str = "mode"
    max_iterations: int = 100

    @classmethod
    def of(cls, regressor):
        """Take the arguments of a regressor, velocities in km/s."""
        options = {field.name: getattr(regressor, field.name) for field in fields(cls)}
        for name, unit in _UNITS.items():
            options[name] = without_unit(options[name], argument=name, unit=unit)
        return cls(**options)

    @property
    def is_as_sharp(self):
        """Whether the user said that spectra are as sharp as those of the emulator."""
        power = self.resolving_power
        return isinstance(power, str) and power == "emulator"

    @property
    def given_power(self):
        """Resolving power that the user gave as numbers, or None."""
        return None if self.is_as_sharp else self.resolving_power

    @property
    def wants_velocity(self):
        """Whether a velocity was asked for, and not only by default."""
        wanted = _as_numbers(self.velocity_range)
        default = type(self).velocity_range
        return self.velocity_range is not None and not np.array_equal(wanted, default)


@dataclass
class Task:
    """What is fitted to all stars.

    Attributes
    ----------
    inverted : Inverted
        The emulator.
    options : Options
        As they were given.
    spectra : SpectrumSet
        Of n stars, with errors.
    wavelength : ndarray of shape (P,) or (n, P), or None
        Of the pixels in Å, in the medium of the emulator; None for flux on its grid.
    widths : dict of str to tuple of float
        Smallest and largest "vsini", "vmac" and perhaps "resolving_power" by which
        model spectra are broadened.
    sigma : float or ndarray of shape (n, P)
        Width in km/s of the instrument, beyond that of the emulator.
    matrix : ndarray of shape (n, P, d) or None
        Rows of resolution matrices.
    arm : ndarray of shape (P,) or (n, P), or None
        Arm of each pixel; None if there is one.
    offsets : list of tuple
        Limits of the velocity offsets of arms after the first.
    with_velocity : bool
        Whether a velocity is fitted.
    constraints : Constraints
        What is known.
    """

    inverted: Inverted
    options: Options
    spectra: SpectrumSet
    wavelength: np.ndarray | None
    widths: dict
    sigma: Any
    matrix: np.ndarray | None
    arm: np.ndarray | None
    offsets: list
    with_velocity: bool
    constraints: Constraints | None = None

    @property
    def nuisances(self):
        """Names of what is fitted besides the labels."""
        names = [name for name, (low, high) in self.widths.items() if low < high]
        names += [f"velocity_offset_{i + 1}" for i in range(len(self.offsets))]
        return names + [VELOCITY] * self.with_velocity

    @property
    def limits(self):
        """Lowest and highest value of every parameter, in their units."""
        limits = [np.stack([self.inverted.low, self.inverted.high], axis=1)]
        limits += [[pair] for pair in self.widths.values() if pair[0] < pair[1]]
        limits += [[pair] for pair in self.offsets]
        if self.with_velocity:
            limits.append([self.options.velocity_range])
        return np.concatenate(limits).T

    @property
    def units(self):
        """Zero and unit of the parameters of models: labels are in that of the box."""
        extra = np.zeros(len(self.nuisances))
        return (
            np.concatenate([self.inverted.center, extra]),
            np.concatenate([self.inverted.half_width, extra + 1]),
        )


def prepare(inverted, spectra, options):
    """Check options, and prepare what all stars share.

    Parameters
    ----------
    inverted : Inverted
        The emulator.
    spectra : SpectrumSet
        Of n stars, with errors.
    options : Options
        Not checked yet.

    Returns
    -------
    task : Task
        Ready for batches.

    Raises
    ------
    ValueError
        If the spectra cannot belong to the emulator, or an option is not allowed.
    WavelengthMismatchError
        If no star shares wavelengths with the emulator.
    """
    if options.max_iterations < 1:
        raise ValueError(
            f"`max_iterations` must be at least 1; got {options.max_iterations}."
        )
    if options.estimate not in ("mode", "mean"):
        raise ValueError(
            f"`estimate` must be 'mode' or 'mean'; got {options.estimate!r}."
        )
    limits = _checked_limits(inverted, options)
    _check_weights(options)
    _check_degree(inverted, options.continuum_degree)
    wavelength = _observed_wavelength(inverted, spectra)
    sigma, matrix = 0.0, None
    if "resolving_power" not in limits:
        sigma, matrix = _resolution(inverted, spectra, options, wavelength)
    with_velocity = inverted.wavelength is not None and (
        options.velocity_range is not None
    )
    if with_velocity:
        _check_velocity_range(options.velocity_range)
    offsets, arm = [], spectra.arm
    if options.arm_offsets is not None:
        arm = np.zeros(spectra.shape[1], dtype=np.int64) if arm is None else arm
        n_arms = 1 + int(np.max(arm))
        offsets = _arm_offsets(options.arm_offsets, n_arms, with_velocity)
    needs_wavelength = (
        with_velocity
        or any(high for _, high in limits.values())
        or options.continuum_degree is not None
        or options.integrate_pixels
        or np.any(sigma)
    )
    if wavelength is None and needs_wavelength:
        wavelength = inverted.wavelength
    _require_overlap(inverted, spectra, wavelength, options.velocity_range)
    task = Task(
        inverted=inverted,
        options=options,
        spectra=spectra,
        wavelength=wavelength,
        widths=limits,
        sigma=sigma,
        matrix=matrix,
        arm=arm,
        offsets=offsets,
        with_velocity=with_velocity,
    )
    widths = [name for name, (_, high) in limits.items() if high]
    _refuse_double(inverted.label_names, [*widths, *task.nuisances])
    constraints = Constraints.from_mappings(
        [*inverted.label_names, *task.nuisances],
        [*inverted.label_units, *map(nuisance_unit, task.nuisances)],
        len(spectra),
        options.fixed,
        options.priors,
        *task.limits,
    )
    if options.resolving_power is None:
        _warn_unstated(inverted, spectra)
    return replace(task, constraints=constraints)


def _refuse_double(label_names, nuisances):
    """Refuse parameters of the fit that are labels of the emulator as well."""
    for name in nuisances:
        if name in label_names:
            argument = "velocity_range" if name == VELOCITY else name
            raise ValueError(
                f"`{argument}` must be {'None' if name == VELOCITY else '0'} for an "
                f"emulator with the label {name!r}, which already does the same to its "
                "spectra. Or train an emulator without that label."
            )


def is_broadened(inverted, options):
    """Whether model spectra are broader than those of the emulator.

    Parameters
    ----------
    inverted : Inverted
        The emulator.
    options : Options
        With one resolving power, or none.

    Returns
    -------
    is_broadened : bool
        Also if they may turn out not to be.
    """
    limits = _checked_limits(inverted, options)
    return bool(
        any(high for _, high in limits.values())
        or np.any(_given_sigma(inverted, options.given_power))
    )


def _checked_limits(inverted, options):
    limits = {
        name: _as_limits(name, getattr(options, name)) for name in ("vsini", "vmac")
    }
    darkening = _as_numbers(options.limb_darkening)
    if darkening.ndim or not 0 <= darkening <= 1:
        raise ValueError(
            f"`limb_darkening` must be between 0 and 1; got {options.limb_darkening!r}."
        )
    is_wanted = any(high for _, high in limits.values())
    is_wanted |= options.integrate_pixels or options.arm_offsets is not None
    is_wanted |= options.given_power is not None
    is_wanted |= options.wants_velocity
    if inverted.wavelength is None and is_wanted:
        raise ValueError(
            "`velocity_range`, `resolving_power`, `integrate_pixels`, `arm_offsets`, "
            "`vsini` and `vmac` must keep their defaults for an emulator without "
            "wavelengths, or inside of another estimator. Pass `wavelength=` and "
            "`medium=` to SpectrumEmulator and train it again, on its own."
        )
    if isinstance(options.resolving_power, tuple):
        limits["resolving_power"] = _power_limits(inverted, options.resolving_power)
    return limits


def _power_limits(inverted, limits):
    """Smallest and largest resolving power of an instrument to be found."""
    pair = _as_numbers(limits)
    if pair.shape != (2,) or not 0 < pair[0] < pair[1] < np.inf:
        raise ValueError(
            "`resolving_power` must be a smallest and a largest one, both positive, if "
            f"it is a tuple; got {limits!r}. Pass a list or array of one per pixel."
        )
    if np.ndim(inverted.resolving_power):
        raise ValueError(
            "`resolving_power` must not be a tuple, of limits between which it is "
            "found, for an emulator whose own is not the same at all wavelengths; got "
            f"{limits!r}. Pass one number, or a list or array of one per pixel."
        )
    # which checks the upper end, too
    _given_sigma(inverted, pair[1])
    return float(pair[0]), float(pair[1])


def _as_limits(name, value):
    """Smallest and largest value of a width, alike if it is fixed."""
    limits = _as_numbers(value)
    limits = limits.repeat(2) if limits.ndim == 0 else limits
    good = limits.shape == (2,) and np.isfinite(limits).all()
    if not good or not 0 <= limits[0] <= limits[1]:
        raise ValueError(
            f"`{name}` must be a velocity in km/s, not negative, or a smallest and a "
            f"largest one; got {value!r}."
        )
    return float(limits[0]), float(limits[1])


def _as_numbers(value):
    """Give numbers as an array, and NaN, which no rule allows, for anything else."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # of units, or of different lengths
        return np.asarray(np.nan)
    return array.astype(np.float64) if array.dtype.kind in "iuf" else np.asarray(np.nan)


def _check_weights(options):
    clip = _as_numbers(np.inf if options.clip is None else options.clip)
    if clip.ndim or not clip > 0:
        raise ValueError(
            "`clip` must be None or a positive number of errors, like 5; got "
            f"{options.clip!r}."
        )
    floor = options.error_floor
    number = _as_numbers(0.0 if isinstance(floor, str) and floor == "fit" else floor)
    if number.ndim or not 0 <= number < np.inf:
        raise ValueError(
            "`error_floor` must be a part of the continuum like 0.01, not negative, or "
            f"'fit'; got {floor!r}."
        )


def _check_degree(inverted, degree):
    if degree is None:
        return
    if not (isinstance(degree, Integral) and degree >= 0):
        raise ValueError(
            "`continuum_degree` must be None or an integer of at least 0; got "
            f"{degree!r}."
        )
    if inverted.wavelength is None:
        raise ValueError(
            "`continuum_degree` must be None for an emulator without wavelengths; "
            f"got {degree}. Pass `wavelength=` and `medium=` to SpectrumEmulator "
            "and train it again."
        )


def _resolution(inverted, spectra, options, wavelength):
    """Width of the instrument in km/s, beyond that of the emulator, and a matrix.

    The width is one number, or one for each pixel of shape (n, P); `wavelength` of the
    pixels is None for those of the emulator.
    """
    matrix, resolving_power = None, options.resolving_power
    if options.is_as_sharp:
        return 0.0, None
    if resolving_power is None:
        matrix, resolving_power = spectra.resolution_matrix, spectra.resolving_power
        if resolving_power is None:
            return 0.0, matrix
        if matrix is not None:
            # which says it better than a resolving power does
            has_matrix = ~_is_sharp(matrix)[:, None]
            resolving_power = np.where(has_matrix, np.nan, resolving_power)
        if inverted.resolving_power is None:
            if np.isfinite(resolving_power).any():
                warnings.warn(
                    "The spectra state their resolving power, but the emulator does "
                    "not know its own: no instrument is allowed for. Pass "
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
    sigma = _given_sigma(inverted, resolving_power, wavelength)
    if np.ndim(sigma):
        sigma = np.broadcast_to(sigma, spectra.shape)
    return sigma, matrix


def _is_sharp(matrix):
    """Whether pixels of stars see one point each, as those without a matrix do."""
    middle = matrix.shape[2] // 2
    others = np.delete(matrix, middle, axis=2)
    return (matrix[:, :, middle] == 1).all(axis=1) & ~others.any(axis=(1, 2))


def _warn_unstated(inverted, spectra):
    """Warn of spectra of unknown resolving power: they are taken as sharp."""
    if inverted.resolving_power is None or spectra.wavelength is None:
        return
    unknown = spectra.ivar > 0
    if spectra.resolving_power is not None:
        unknown = unknown & np.isnan(spectra.resolving_power)
    if spectra.resolution_matrix is not None:
        unknown = unknown & _is_sharp(spectra.resolution_matrix)[:, None]
    rows = np.flatnonzero(unknown.any(axis=1))
    if len(rows):
        known = np.unique(np.round(inverted.resolving_power))[[0, -1]]
        told = " to ".join(f"{power:g}" for power in sorted(set(known)))
        warnings.warn(
            f"{len(rows)} of {len(spectra)} spectra state no resolving power, the "
            f"first is spectrum {rows[0]}. They are taken to be as sharp as those of "
            f"the emulator, of {told}. If they are not, labels are wrong, and no flag "
            "shows it: [Fe/H] was off by 7 of its errors for spectra of 20 000 and an "
            "emulator of infinite resolving power. Pass `resolving_power=` to the "
            "regressor: theirs, or 'emulator' if they are as sharp. Or set "
            'spectrum.meta["resolving_power"].',
            ResolutionWarning,
            stacklevel=5,
        )


def _given_sigma(inverted, resolving_power, wavelength=None):
    """Width in km/s of the instrument, as far as the emulator does not have it.

    One number, or one for each of the observed wavelengths, which are those of the
    emulator if they are None.
    """
    if resolving_power is None:
        return 0.0
    if inverted.resolving_power is None:
        raise ValueError(
            "`resolving_power` must be None for an emulator that does not know its "
            f"own; got {resolving_power}. Pass `resolving_power=` to "
            "SpectrumEmulator: that of its training spectra, np.inf if they are "
            "as the star sends them out."
        )
    power = _as_numbers(resolving_power)
    if power.ndim == 0 and np.isnan(power):
        raise ValueError(
            "`resolving_power` must be a positive number, one for each pixel, a tuple "
            "of a smallest and a largest one, 'emulator' or None; got "
            f"{resolving_power!r}."
        )
    has = inverted.resolving_power
    if np.ndim(has) and wavelength is not None:
        has = has[_nearest(inverted.wavelength, wavelength)]
    if power.ndim == 0 and np.ndim(has) == 0:
        return float(velocity_sigma(power, has))
    # unknown where there is nothing to see
    power = np.where(np.isnan(power), has, power)
    if np.ndim(has) and wavelength is not None:
        # what the emulator does not cover is not used, whatever is said of it
        covered = is_covered(wavelength, wavelength, inverted.wavelength)
        power = np.where(covered, power, np.minimum(power, has))
    return velocity_sigma(power, has)


def _nearest(grid, wavelength):
    """Place of the wavelength of a grid that is nearest to each of some others."""
    place = np.searchsorted(grid, wavelength).clip(1, max(len(grid) - 1, 1))
    place = place.clip(max=len(grid) - 1)
    before = np.maximum(place - 1, 0)
    is_before = wavelength - grid[before] < grid[place] - wavelength
    return np.where(is_before, before, place)


def _arm_offsets(limits, n_arms, with_velocity):
    """Limits of the offsets of all arms but the first."""
    if limits is None:
        return []
    pairs = np.atleast_2d(_as_numbers(limits))
    low, high = pairs.T if pairs.shape[1:] == (2,) else np.full((2, 1), np.nan)
    if not ((-C_KMS < low) & (low <= 0) & (high >= 0) & (high < C_KMS)).all():
        raise ValueError(
            "`arm_offsets` must be a smallest and a largest velocity in km/s, with 0 "
            "between them, or None, or a list of such pairs, one for each arm after "
            f"the first; got {limits!r}."
        )
    if not with_velocity:
        raise ValueError(
            "`velocity_range` must not be None with `arm_offsets`: they are relative "
            "to the velocity of the first arm."
        )
    if np.ndim(limits) == 1:
        pairs = pairs.repeat(n_arms - 1, axis=0)
    if len(pairs) < n_arms - 1:
        raise ValueError(
            f"`arm_offsets` must have a pair for each of the {n_arms - 1} arms after "
            f"the first, if it is a list; got {len(pairs)}."
        )
    return [(float(low), float(high)) for low, high in pairs]


def _observed_wavelength(inverted, spectra):
    """Wavelengths in the medium of the emulator, or None for flux on its grid."""
    n_pixels = spectra.shape[1]
    if spectra.wavelength is None:
        if n_pixels != inverted.n_pixels:
            raise ValueError(
                f"`X` must have the {inverted.n_pixels} pixels of the emulator; got "
                f"{n_pixels}. Spectra on other wavelengths go in as specutils Spectrum "
                "objects, if the emulator was trained with wavelengths."
            )
        return None
    if inverted.wavelength is not None:
        return _converted(spectra, inverted.medium)
    if inverted.pixels is None:
        raise ValueError(
            "`X` has wavelengths, but those of the emulator are not known. Pass "
            "`wavelength=` and `medium=` to SpectrumEmulator and train it again, or "
            "plain arrays of flux on the pixels of the emulator."
        )
    wavelength = spectra.wavelength
    if inverted.pixels_medium is not None:
        wavelength = _converted(spectra, inverted.pixels_medium)
    if (
        n_pixels != inverted.n_pixels
        or not (
            np.isclose(wavelength, inverted.pixels, rtol=_SAME, atol=0)
            | (spectra.ivar == 0)
        ).all()
    ):
        raise WavelengthMismatchError(
            "`X` must be on the wavelengths of the training spectra, as the emulator "
            "cannot be evaluated at others: SpectrumEmulator can, without other "
            "estimators around it. Resample the spectra, or train such an emulator."
        )
    return None


def _converted(spectra, medium):
    """Wavelengths of the spectra in the medium of the emulator."""
    if spectra.medium is None:
        raise ValueError(
            "`medium` of the spectra is not known. Pass "
            "AbundanceRegressor(..., medium='air') or 'vacuum', or set "
            'spectrum.meta["medium"]: they differ by 80 km/s.'
        )
    return convert_medium(spectra.wavelength, spectra.medium, medium)


def _check_velocity_range(velocity_range):
    pair = _as_numbers(velocity_range)
    if pair.shape != (2,) or not -C_KMS < pair[0] <= pair[1] < C_KMS:
        raise ValueError(
            "`velocity_range` must be a smallest and a largest velocity in km/s, or "
            f"None; got {velocity_range!r}."
        )


def _require_overlap(inverted, spectra, wavelength, velocity_range):
    """Stars may miss the emulator one by one, but not all of them."""
    if wavelength is None or not len(spectra):
        return
    reach = 0.0 if velocity_range is None else np.abs(velocity_range).max() / C_KMS
    near = touches_grid(
        wavelength / (1 + reach), wavelength / (1 - reach), inverted.wavelength
    )
    has_data = (spectra.ivar > 0).any()
    if (
        has_data
        and not (np.broadcast_to(near, spectra.shape) & (spectra.ivar > 0)).any()
    ):
        raise WavelengthMismatchError(
            f"`X` covers {wavelength.min():.1f}-{wavelength.max():.1f} Å, but the "
            f"emulator knows {describe_segments(inverted.wavelength)}. Pass spectra "
            "of that range, or an emulator of theirs."
        )
