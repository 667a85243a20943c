"""Stellar parameters and abundances of stars, from spectra and any emulator."""

from sk_payne.abundances._catalogue import measure_catalogue, read_catalogue
from sk_payne.abundances._fitted_emulator import emulator_of, fitted_emulator_of
from sk_payne.abundances._flags import FLAGS
from sk_payne.abundances._forward_model import ForwardModel, continuum_polynomials
from sk_payne.abundances._joint_probability import joint_probability, t_scale
from sk_payne.abundances._label_bounds import labels_within_bounds
from sk_payne.abundances._learned_start import LEARNED_START
from sk_payne.abundances._observation import Observation
from sk_payne.abundances._parameters import VELOCITY, Parameter
from sk_payne.abundances._plan import width_limits
from sk_payne.abundances._regressor import AbundanceRegressor
from sk_payne.abundances._resolution import instrument_width
from sk_payne.abundances._second_star import SecondStar
from sk_payne.abundances._stage import Stage
from sk_payne.abundances._telluric import Telluric

__all__ = [
    "FLAGS",
    "LEARNED_START",
    "VELOCITY",
    "AbundanceRegressor",
    "ForwardModel",
    "Observation",
    "Parameter",
    "SecondStar",
    "Stage",
    "Telluric",
    "continuum_polynomials",
    "emulator_of",
    "fitted_emulator_of",
    "instrument_width",
    "joint_probability",
    "labels_within_bounds",
    "measure_catalogue",
    "read_catalogue",
    "t_scale",
    "width_limits",
]
