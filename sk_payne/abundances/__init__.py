"""Stellar parameters and abundances of stars, from spectra and any emulator."""

from sk_payne.abundances._catalogue import measure_catalogue, read_catalogue
from sk_payne.abundances._flags import FLAGS
from sk_payne.abundances._mock_recovery import mock_recovery
from sk_payne.abundances._observation import Observation
from sk_payne.abundances._parameters import Parameter
from sk_payne.abundances._recovery_statistics import recovery_statistics, recovery_table
from sk_payne.abundances._regressor import AbundanceRegressor
from sk_payne.abundances._second_star import SecondStar
from sk_payne.abundances._stage import Stage
from sk_payne.abundances._telluric import Telluric

__all__ = [
    "FLAGS",
    "AbundanceRegressor",
    "Observation",
    "Parameter",
    "SecondStar",
    "Stage",
    "Telluric",
    "measure_catalogue",
    "mock_recovery",
    "read_catalogue",
    "recovery_statistics",
    "recovery_table",
]
