"""Stellar parameters and abundances of stars, from spectra and any emulator."""

from sk_payne.abundances._catalogue import measure_catalogue, read_catalogue
from sk_payne.abundances._regressor import AbundanceRegressor
from sk_payne.abundances._results import FLAGS

__all__ = ["FLAGS", "AbundanceRegressor", "measure_catalogue", "read_catalogue"]
