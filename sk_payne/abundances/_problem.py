"""Least-squares problem of observed stars: model, data, bounds and priors."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from sk_payne.abundances._continuum import ContinuumModel
from sk_payne.abundances._emulator_errors import flux_error
from sk_payne.abundances._least_squares import fit_least_squares
from sk_payne.abundances._model import GridModel, ObservedModel, StarColumns, StarLight
from sk_payne.abundances._observed import ObservedStars
from sk_payne.abundances._parameters import VELOCITY
from sk_payne.abundances._predict_model import PredictModel
from sk_payne.abundances._stage import AppliedStage

__all__ = ["Problem", "as_tensor", "model_of", "pose"]


@dataclass
class Problem:
    """Least-squares problem of B stars, in the variables of the fit.

    Attributes
    ----------
    observed : ObservedStars
        The stars; errors of the pixels include those of the emulator.
    model : object
        Model with ``flux(rows, variables)`` and ``linearize(rows, variables)``.
    flux, ivar : Tensor of shape (B, P)
        Flux and inverse variances, in the precision of the fit. Reweighting changes
        `ivar`.
    low, high : Tensor of shape (B, K), float64
        Bounds of the variables.
    prior : tuple of Tensor of shape (B, K), float64
        Means and inverse variances of Gaussian priors.
    max_iterations : int
        Largest number of steps of a fit.
    """

    observed: ObservedStars
    model: Any
    flux: torch.Tensor
    ivar: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    prior: tuple
    max_iterations: int

    def fit(self, start, **changes):
        """Fit all stars, or the stars of the argument `rows`.

        Parameters
        ----------
        start : Tensor of shape (B, K), float64
            Variables from which the fits start.
        **changes
            Arguments of `fit_least_squares` that replace those of the problem, or are
            added to them.

        Returns
        -------
        fit : LeastSquaresFit
            Best fits, in the variables of the fit.
        """
        return fit_least_squares(start=start, **(self.arguments() | changes))

    def arguments(self):
        """Return the arguments of `fit_least_squares`, except for the start."""
        names = [field.name for field in fields(self) if field.name != "observed"]
        return {name: getattr(self, name) for name in names}

    @property
    def every(self):
        """Indices of all stars."""
        return torch.arange(len(self.flux), device=self.flux.device)


def pose(observed, labels=None):
    """Create the least-squares problem of observed stars.

    Parameters
    ----------
    observed : ObservedStars
        The stars.
    labels : ndarray of shape (B, n_labels), default=None
        Labels in their units, at which the error of the emulator is computed; if None,
        those of the earlier fit, or a guess.

    Returns
    -------
    problem : Problem
        The least-squares problem.
    """
    block = observed.block
    error = flux_error(observed, labels)
    if error is not None:
        observed = observed.with_error(error)
    device, dtype = block.emulator.device, block.emulator.dtype
    flux = as_tensor(observed.flux, device).to(dtype)
    ivar = as_tensor(observed.ivar, device).to(dtype, copy=True)
    model = model_of(observed)
    if observed.basis is not None:
        model = ContinuumModel(model, flux, ivar, observed.basis.to(flux))
    low, high = (as_tensor(limit, device) for limit in _bounds(observed))
    prior = tuple(as_tensor(part, device) for part in _prior(observed))
    max_iterations = block.plan.max_iterations
    return Problem(observed, model, flux, ivar, low, high, prior, max_iterations)


def as_tensor(array, device):
    """Copy an array to a device.

    Parameters
    ----------
    array : ndarray
        Values to copy.
    device : torch.device
        Device of the tensor.

    Returns
    -------
    tensor : Tensor
        The same values, in memory that torch allocates: rounding of matrix products may
        depend on the address of an array.
    """
    return torch.tensor(np.ascontiguousarray(array), device=device)


def model_of(observed):
    """Create the model of the flux of observed stars, with a continuum of one.

    Parameters
    ----------
    observed : ObservedStars
        The stars.

    Returns
    -------
    model : GridModel, ObservedModel or PredictModel
        Model with ``flux(rows, variables)`` and ``linearize(rows, variables)``.
    """
    block, emulator = observed.block, observed.block.emulator
    if not isinstance(emulator.source, torch.nn.Module):
        return PredictModel(emulator.source, emulator.center, emulator.half_width)
    sampling = None
    if block.instrument is not None:
        sampling = block.instrument.sampling(observed.stars)
    wavelength, is_simple = observed.wavelength, sampling is None
    is_simple &= block.broadening is None and not block.plan.stages
    is_simple &= observed.velocity_limits is None
    if is_simple and (
        wavelength is None
        or (
            wavelength.shape[1] == emulator.n_pixels
            and (wavelength == emulator.wavelength).all()
        )
    ):
        return GridModel(emulator)
    device = emulator.device
    light = StarLight(emulator, block.broadening, _columns(block))
    if block.with_second:
        light = block.plan.second_star.light(light, block)
    wavelength = as_tensor(wavelength, device)
    arm = as_tensor(observed.arm, device) if block.n_offsets else None
    return ObservedModel(light, wavelength, arm, sampling, _stages(block, wavelength))


def _columns(block):
    """Return the columns of the parameters of the first or only star."""
    parameters = block.parameters
    widths = block.broadening.free if block.broadening else []
    offsets = [n for n in parameters.names if n.startswith("velocity_offset_")]
    return StarColumns(
        np.arange(parameters.n_labels),
        parameters.columns(widths),
        parameters.columns(offsets),
        parameters.index(VELOCITY) if block.with_velocity else None,
    )


def _stages(block, wavelength):
    """Prepare stages for the pixels of the stars."""
    applied, parameters = [], block.parameters
    for stage in block.plan.stages:
        columns = parameters.columns([p.name for p in stage.parameters()])
        zero, scale = parameters.zero[columns], parameters.scale[columns]
        applied.append(
            AppliedStage(
                stage, columns.tolist(), zero.tolist(), scale.tolist(), wavelength
            )
        )
    return applied


def _bounds(observed):
    """Compute bounds of each star in the variables of the fit."""
    parameters, constraints = observed.block.parameters, observed.constraints
    ends = [
        np.broadcast_to(limit, constraints.value.shape).copy()
        for limit in (parameters.low, parameters.high)
    ]
    moving = {VELOCITY: observed.velocity_limits}
    if observed.second_limits is not None:
        moving[f"{VELOCITY}_2"] = observed.second_limits
    for name, limits in moving.items():
        if limits is not None:
            for end, limit in zip(ends, limits.T, strict=True):
                end[:, parameters.index(name)] = limit
    is_fixed, value = constraints.is_fixed, constraints.value
    return [parameters.to_fit(np.where(is_fixed, value, end)) for end in ends]


def _prior(observed):
    """Compute means and inverse variances of priors in the variables of the fit."""
    parameters, known = observed.block.parameters, observed.constraints
    weight = (parameters.scale / known.error) ** 2
    return parameters.to_fit(known.mean), np.where(known.is_fixed, 0.0, weight)
