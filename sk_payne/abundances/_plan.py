"""Plan of a fit: checked emulator, observation, spectra and parameters."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sk_payne.abundances._constraints import Constraints
from sk_payne.abundances._fitted_emulator import FittedEmulator
from sk_payne.abundances._level import warn_of_level
from sk_payne.abundances._observation import Observation
from sk_payne.abundances._parameters import VELOCITY, Parameter, Parameters
from sk_payne.abundances._resolution import (
    check_power_limits,
    own_resolution,
    warn_unstated,
)
from sk_payne.abundances._wavelengths import observed_wavelength, require_overlap
from sk_payne.spectra import SpectrumSet

__all__ = ["FitPlan", "plan_fit", "width_limits"]


@dataclass(frozen=True)
class FitPlan:
    """Checked input of the fits of all stars.

    Attributes
    ----------
    emulator : FittedEmulator
        The emulator.
    observation : Observation
        Checked observation.
    spectra : SpectrumSet
        Spectra of n stars, with errors.
    wavelength : ndarray of shape (P,) or (n, P), or None
        Wavelengths of the pixels in Å, in the medium of the emulator; None for flux on
        its grid.
    widths : dict of str to tuple of float
        Limits of "vsini" and "vmac" in km/s, equal if known, and of "resolving_power"
        if it is fitted.
    sigma : float or ndarray of shape (n, P)
        Standard deviation of the instrument in km/s, beyond that of the emulator.
    matrix : ndarray of shape (n, P, d) or None
        Rows of resolution matrices.
    arm : ndarray of shape (P,) or (n, P), or None
        Arm of each pixel; None for spectra of one arm.
    offsets : list of tuple
        Limits of the velocity offsets of arms after the first, in km/s.
    stages : list of Stage
        Effects on the model at the pixels.
    parameters : Parameters
        All parameters, in their order.
    constraints : Constraints
        Fixed values and priors of all stars.
    estimate : {"mode", "mean", "profile"}
        Best fits, means of the posterior, or best fits with intervals.
    max_iterations : int
        Largest number of steps of a fit.
    start : NeuralPosterior or None
        Posterior from which fits start; None for a velocity scan and a guess.
    search : {"quick", "thorough"}
        "thorough" to scan every label for lower chi2.
    """

    emulator: FittedEmulator
    observation: Observation
    spectra: SpectrumSet
    wavelength: np.ndarray | None
    widths: dict
    sigma: Any
    matrix: np.ndarray | None
    arm: np.ndarray | None
    offsets: list
    stages: list
    parameters: Parameters
    constraints: Constraints
    estimate: str
    max_iterations: int
    start: Any = None
    search: str = "quick"

    @property
    def with_velocity(self):
        """True if a velocity is fitted."""
        return VELOCITY in self.parameters.nuisances

    @property
    def second_star(self):
        """Second star of the observation, or None."""
        return self.observation.second_star

    @cached_property
    def velocities(self):
        """Lowest and highest velocity in km/s, including second star and offsets."""
        low, high = 0.0, 0.0
        if self.with_velocity:
            low, high = self.observation.velocity_range
            if self.second_star is not None:
                ends = self.second_star.velocity_limits(self.observation)
                low, high = min(low, ends[0]), max(high, ends[1])
        offsets = np.reshape([(0.0, 0.0), *self.offsets], (-1, 2))
        return float(low + offsets.min()), float(high + offsets.max())

    @cached_property
    def values_if_absent(self):
        """Values of absent parameters: NaN for those of a second star, otherwise 0."""
        values = np.zeros(len(self.parameters))
        if self.second_star is not None:
            names = self.second_star.names(self.parameters)
            values[self.parameters.columns(names)] = np.nan
        return values

    def is_off_grid(self, sigma, matrix):
        """Check whether model flux differs from that of the emulator on its grid.

        Parameters
        ----------
        sigma : float or ndarray
            Standard deviation of the instrument in km/s.
        matrix : ndarray or None
            Rows of the resolution matrix.

        Returns
        -------
        is_off_grid : bool
            True if model flux is shifted, broadened or multiplied, and the model needs
            wavelengths.
        """
        observation = self.observation
        return self.emulator.wavelength is not None and bool(
            self.with_velocity
            or any(high for _, high in self.widths.values())
            or observation.continuum_degree is not None
            or observation.integrate_pixels
            or self.stages
            or matrix is not None
            or np.any(sigma)
        )


def plan_fit(
    emulator,
    spectra,
    observation,
    *,
    fixed,
    priors,
    estimate,
    max_iterations,
    start=None,
    search="quick",
):
    """Check all arguments of a fit.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    spectra : SpectrumSet
        Spectra of n stars, with errors.
    observation : Observation or None
        Observation of the user.
    fixed, priors, estimate, max_iterations, start, search
        Arguments of AbundanceRegressor.

    Returns
    -------
    plan : FitPlan
        The plan.

    Raises
    ------
    ValueError
        If spectra and emulator do not match, or an argument is invalid.
    WavelengthMismatchError
        If no star shares wavelengths with the emulator.
    """
    if max_iterations < 1:
        raise ValueError(f"`max_iterations` must be at least 1; got {max_iterations}.")
    if estimate not in ("mode", "mean", "profile"):
        raise ValueError(
            f"`estimate` must be 'mode', 'mean' or 'profile'; got {estimate!r}."
        )
    if search not in ("quick", "thorough"):
        raise ValueError(f"`search` must be 'quick' or 'thorough'; got {search!r}.")
    observation = (Observation() if observation is None else observation).checked()
    if observation.second_star is not None and estimate != "mode":
        raise ValueError(
            "`estimate` must be 'mode' with a second star in the observation; got "
            f"{estimate!r}."
        )
    if observation.error_length is not None:
        _check_error_length(emulator, estimate)
    widths = width_limits(emulator, observation)
    wavelength = observed_wavelength(emulator, spectra)
    sigma, matrix = 0.0, None
    if not observation.fits_power:
        sigma, matrix = own_resolution(emulator, spectra, observation, wavelength)
    offsets, arm = [], spectra.arm
    if observation.arm_offsets is not None:
        arm = np.zeros(spectra.shape[1], dtype=np.int64) if arm is None else arm
        offsets = observation.offset_limits(1 + int(np.max(arm, initial=0)))
    stages = [stage.prepared(emulator.medium) for stage in observation.stages]
    parameters = _parameters(emulator, observation, widths, offsets, stages)
    _check_names(parameters, widths)
    found = {
        "emulator": emulator,
        "observation": observation,
        "spectra": spectra,
        "widths": widths,
        "sigma": sigma,
        "matrix": matrix,
        "arm": arm,
        "offsets": offsets,
        "stages": stages,
        "parameters": parameters,
        "constraints": Constraints.of_stars(parameters, len(spectra), fixed, priors),
        "estimate": estimate,
        "max_iterations": max_iterations,
        "start": start,
        "search": search,
    }
    plan = FitPlan(wavelength=wavelength, **found)
    if wavelength is None and plan.is_off_grid(sigma, matrix):
        plan = FitPlan(wavelength=emulator.wavelength, **found)
    if start is not None:
        start.require(plan)
    require_overlap(emulator, spectra, plan.wavelength, observation.velocity_range)
    if observation.resolving_power is None:
        warn_unstated(emulator, spectra)
    warn_of_level(emulator, spectra, plan.wavelength, observation)
    return plan


def width_limits(emulator, observation):
    """Return the limits of all widths that broaden the spectra of an emulator.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    observation : Observation
        Checked observation.

    Returns
    -------
    limits : dict of str to tuple of float
        Limits of "vsini", "vmac" in km/s and, if it is fitted, "resolving_power".

    Raises
    ------
    ValueError
        If the observation needs wavelengths or a resolving power that the emulator does
        not have.

    Examples
    --------
    >>> from sk_payne import AbundanceRegressor, Observation, load
    >>> from sk_payne.abundances import fitted_emulator_of, width_limits
    >>> emulator = load("dwarfs-4500-4600")
    >>> fitted = fitted_emulator_of(AbundanceRegressor(emulator))
    >>> width_limits(fitted, Observation(vsini=(0, 40)))["vsini"]
    (0, 40)
    """
    limits = {"vsini": observation.vsini, "vmac": observation.vmac}
    is_wanted = (
        any(high for _, high in limits.values())
        or observation.integrate_pixels
        or observation.arm_offsets is not None
        or observation.given_power is not None
        or observation.wants_velocity
        or observation.second_star is not None
        or len(observation.stages) > 0
    )
    if emulator.wavelength is None and is_wanted:
        raise ValueError(
            "`velocity_range`, `resolving_power`, `integrate_pixels`, `arm_offsets`, "
            "`second_star`, `stages`, `vsini` and `vmac` of the observation must keep "
            "their defaults for an emulator without wavelengths, or inside of another "
            "estimator. Pass `wavelength=` and `medium=` to SpectrumEmulator and train "
            "it again, on its own."
        )
    if emulator.wavelength is None and observation.continuum_degree is not None:
        raise ValueError(
            "`continuum_degree` must be None for an emulator without wavelengths; got "
            f"{observation.continuum_degree}. Pass `wavelength=` and `medium=` to "
            "SpectrumEmulator and train it again."
        )
    if observation.fits_power:
        power = observation.resolving_power
        limits["resolving_power"] = check_power_limits(emulator, power)
    return limits


def _parameters(emulator, observation, widths, offsets, stages):
    """Create all parameters: labels, widths, offsets, velocity, second star, stages."""
    labels = [
        Parameter(name, unit, low, high, zero=zero, scale=scale, flag="LABEL_AT_EDGE")
        for name, unit, low, high, zero, scale in zip(
            emulator.label_names,
            emulator.label_units,
            emulator.low.tolist(),
            emulator.high.tolist(),
            emulator.center.tolist(),
            emulator.half_width.tolist(),
            strict=True,
        )
    ]
    others = [
        Parameter(
            name,
            "" if name == "resolving_power" else "km / s",
            low,
            high,
            flag="WIDTH_AT_EDGE",
        )
        for name, (low, high) in widths.items()
        if low < high
    ]
    others += [
        Parameter(
            f"velocity_offset_{i}", "km / s", *pair, start=0.0, flag="VELOCITY_AT_EDGE"
        )
        for i, pair in enumerate(offsets, start=1)
    ]
    if emulator.wavelength is not None and observation.velocity_range is not None:
        low, high = map(float, observation.velocity_range)
        others.append(Parameter(VELOCITY, "km / s", low, high, flag="VELOCITY_AT_EDGE"))
    if observation.second_star is not None:
        others += observation.second_star.parameters(labels, observation)
    for stage in stages:
        others += stage.parameters()
    return Parameters(labels + others, len(labels))


def _check_error_length(emulator, estimate):
    """Check that the fit supports correlated errors."""
    if estimate == "mean":
        raise ValueError(
            "`error_length` of the observation must be None with `estimate` 'mean': "
            "the posterior assumes independent errors of pixels. Use 'mode'."
        )
    if emulator.wavelength is None:
        raise ValueError(
            "`error_length` of the observation must be None for an emulator without "
            "wavelengths. Pass `wavelength=` and `medium=` to SpectrumEmulator and "
            "train it again."
        )


def _check_names(parameters, widths):
    """Check that names of parameters are unique, and not those of labels."""
    labels = parameters.names[: parameters.n_labels]
    nuisances = [*(n for n, (_, high) in widths.items() if high), *parameters.nuisances]
    for name in nuisances:
        if name in labels:
            argument = "velocity_range" if name == VELOCITY else name
            raise ValueError(
                f"`{argument}` must be {'None' if name == VELOCITY else '0'} for an "
                f"emulator with the label {name!r}, which has the same effect on its "
                "spectra. Or train an emulator without that label."
            )
    names = parameters.names
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"Each parameter must have a name of its own; {name!r} is there twice. "
                "Rename the parameter of a stage."
            )
