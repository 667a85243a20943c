"""Stellar parameters and abundances of stars, from spectra and any emulator."""

from sk_payne.abundances._calibration import joint_table, rank_table
from sk_payne.abundances._catalogue import measure_catalogue, read_catalogue
from sk_payne.abundances._flags import FLAGS
from sk_payne.abundances._forward_model import ForwardModel, continuum_polynomials
from sk_payne.abundances._joint_distance import joint_distance, joint_probability
from sk_payne.abundances._mock_recovery import mock_recovery
from sk_payne.abundances._observation import Observation
from sk_payne.abundances._parameters import Parameter
from sk_payne.abundances._recovery_statistics import recovery_statistics, recovery_table
from sk_payne.abundances._regressor import AbundanceRegressor
from sk_payne.abundances._second_star import SecondStar
from sk_payne.abundances._stage import Stage
from sk_payne.abundances._telluric import Telluric
from sk_payne.abundances._verdict import recovery_verdict

__all__ = [
    "FLAGS",
    "AbundanceRegressor",
    "ForwardModel",
    "Observation",
    "Parameter",
    "SecondStar",
    "Stage",
    "Telluric",
    "continuum_polynomials",
    "joint_distance",
    "joint_probability",
    "joint_table",
    "measure_catalogue",
    "mock_recovery",
    "rank_table",
    "read_catalogue",
    "recovery_statistics",
    "recovery_table",
    "recovery_verdict",
]
