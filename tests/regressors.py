"""Regressors, plans and models for the tests of inference."""

import itertools

import numpy as np
import torch

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances._model import GridModel, ObservedModel, StarColumns, StarLight
from sk_payne.abundances._plan import plan_fit
from sk_payne.abundances._predict_model import PredictModel
from sk_payne.abundances._preparations import Preparations
from sk_payne.abundances._star_block import StarBlock

OBSERVED = set(Observation().get_params(deep=False))


def make_regressor(emulator, observation=None, *, cls=AbundanceRegressor, **options):
    """Give a regressor; options of an observation go into one."""
    given = {} if observation is None else observation.get_params(deep=False)
    observed = {name: options.pop(name) for name in OBSERVED & set(options)}
    return cls(emulator, Observation(**(given | observed)), **options)


def model_of(
    fitted,
    wavelength=None,
    *,
    with_velocity=False,
    broadening=None,
    sampling=None,
    arm=None,
    n_offsets=0,
):
    """Give the model of stars with given wavelengths, as a fit poses it."""
    if not isinstance(fitted.source, torch.nn.Module):
        return PredictModel(fitted.source, fitted.center, fitted.half_width)
    if wavelength is None:
        return GridModel(fitted)
    n_labels = len(fitted.low)
    n_widths = len(broadening.free) if broadening else 0
    ends = np.cumsum([0, n_labels, n_widths, n_offsets])
    parts = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
    columns = StarColumns(*parts, int(ends[-1]) if with_velocity else None)
    light = StarLight(fitted, broadening, columns)
    return ObservedModel(light, wavelength, arm, sampling, [])


def plan_of(fitted, spectra, observation=None):
    """Give the plan of a fit without priors."""
    return plan_fit(
        fitted,
        spectra,
        observation,
        fixed=None,
        priors=None,
        estimate="mode",
        max_iterations=100,
    )


def block_of(fitted, spectra, observation=None, rows=None):
    """Give stars as one block."""
    plan = plan_of(fitted, spectra, observation)
    rows = np.arange(len(spectra)) if rows is None else rows
    return StarBlock(plan, Preparations(plan), rows)
