"""Analytic spectra and an emulator of them, for tests of several rooms."""

from sk_payne import SpectrumEmulator
from sk_payne.datasets import make_spectra

LABEL_NAMES = ("teff", "Fe_H", "Mg_H")


def make_grid():
    """Give 401 analytic spectra at 257 wavelengths that cannot be written into."""
    grid = make_spectra(401, label_names=LABEL_NAMES, random_state=0)
    for array in (grid.data, grid.target, grid.wavelength):
        array.flags.writeable = False
    return grid


def make_emulator(grid, **changes):
    """Make an unfitted emulator of the grid."""
    arguments = {
        "arch": "payne",
        "arch_params": {"n_hidden": 31},
        "wavelength": grid.wavelength,
        "medium": grid.medium,
        "resolving_power": grid.resolving_power,
        "label_names": grid.label_names,
        "label_units": grid.label_units,
        "max_steps": 607,
        "recipe": {"lr": 5e-3, "loss": "mse"},
        "device": "cpu",
        "random_state": 0,
    }
    return SpectrumEmulator(**(arguments | changes))
