"""The plan of a fit: emulator, observation, spectra, parameters, all checked."""

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
    """All that is known before stars are fitted one by one.

    Attributes
    ----------
    emulator : FittedEmulator
        The emulator.
    observation : Observation
        Checked.
    spectra : SpectrumSet
        Spectra of n stars, with errors.
    wavelength : ndarray of shape (P,) or (n, P), or None
        Wavelengths of the pixels in Å, in the medium of the emulator; None for flux on
        its grid.
    widths : dict of str to tuple of float
        Limits of "vsini", "vmac" and perhaps "resolving_power", equal if known.
    sigma : float or ndarray of shape (n, P)
        Width of the instrument in km/s, beyond that of the emulator.
    matrix : ndarray of shape (n, P, d) or None
        Rows of resolution matrices.
    arm : ndarray of shape (P,) or (n, P), or None
        Arm of each pixel; None if there is one.
    offsets : list of tuple
        Limits of the velocity offsets of arms after the first.
    stages : list of Stage
        Effects on the model at the pixels.
    parameters : Parameters
        All parameters, in their order.
    constraints : Constraints
        Fixed values and priors of all stars.
    estimate : {"mode", "mean", "profile"}
        Best fits, or means of the posterior.
    max_iterations : int
        Largest number of steps of a fit.
    start : NeuralPosterior or None
        What fits start from; None for a scan and a guess.
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

    @property
    def with_velocity(self):
        """Whether a velocity is fitted."""
        return VELOCITY in self.parameters.nuisances

    @property
    def second_star(self):
        """The second star that is searched for, or None."""
        return self.observation.second_star

    @cached_property
    def velocities(self):
        """Lowest and highest velocity of any light in km/s, with offsets of arms."""
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
        """Values of parameters that a star lacks: NaN of a second star, otherwise 0."""
        values = np.zeros(len(self.parameters))
        if self.second_star is not None:
            names = self.second_star.names(self.parameters)
            values[self.parameters.columns(names)] = np.nan
        return values

    def is_off_grid(self, sigma, matrix):
        """Whether flux on the grid of the emulator is shifted, smeared or multiplied.

        Parameters
        ----------
        sigma : float or ndarray
            Width of the instrument.
        matrix : ndarray or None
            Resolution matrix.

        Returns
        -------
        is_off_grid : bool
            True if the model needs wavelengths.
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
):
    """Check all arguments of a fit together.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    spectra : SpectrumSet
        Spectra of n stars, with errors.
    observation : Observation or None
        As the user gave it.
    fixed, priors, estimate, max_iterations, start
        Arguments of AbundanceRegressor.

    Returns
    -------
    plan : FitPlan
        The plan.

    Raises
    ------
    ValueError
        If the spectra cannot belong to the emulator, or an argument is not allowed.
    WavelengthMismatchError
        If no star shares wavelengths with the emulator.
    """
    if max_iterations < 1:
        raise ValueError(f"`max_iterations` must be at least 1; got {max_iterations}.")
    if estimate not in ("mode", "mean", "profile"):
        raise ValueError(
            f"`estimate` must be 'mode', 'mean' or 'profile'; got {estimate!r}."
        )
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
    _refuse_double(parameters, widths)
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
    """Give the limits of all widths that broaden the spectra of an emulator.

    Parameters
    ----------
    emulator : FittedEmulator
        The emulator.
    observation : Observation
        Checked.

    Returns
    -------
    limits : dict of str to tuple of float
        Limits of "vsini", "vmac" in km/s and, if it is fitted, "resolving_power".

    Raises
    ------
    ValueError
        If the emulator does not know what the observation asks for.

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
    """All parameters: labels, widths, offsets, velocity, second star, stages."""
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
    """Refuse errors that go together where they cannot be allowed for."""
    if estimate == "mean":
        raise ValueError(
            "`error_length` of the observation must be None with `estimate` 'mean': "
            "the posterior takes errors of pixels to be independent. Use 'mode'."
        )
    if emulator.wavelength is None:
        raise ValueError(
            "`error_length` of the observation must be None for an emulator without "
            "wavelengths. Pass `wavelength=` and `medium=` to SpectrumEmulator and "
            "train it again."
        )


def _refuse_double(parameters, widths):
    """Refuse parameters that have the name of another, or of a label."""
    labels = parameters.names[: parameters.n_labels]
    nuisances = [*(n for n, (_, high) in widths.items() if high), *parameters.nuisances]
    for name in nuisances:
        if name in labels:
            argument = "velocity_range" if name == VELOCITY else name
            raise ValueError(
                f"`{argument}` must be {'None' if name == VELOCITY else '0'} for an "
                f"emulator with the label {name!r}, which already does the same to its "
                "spectra. Or train an emulator without that label."
            )
    names = parameters.names
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"Each parameter must have a name of its own; {name!r} is there twice. "
                "Rename that of a stage."
            )
