"""Fixtures of the tests of neural posteriors: a small emulator and its posterior."""

import analytic
import numpy as np
import pytest

from sk_payne import Observation
from sk_payne.neural_posterior import NeuralPosterior
from sk_payne.spectra import SpectrumSet, doppler_factor

OBSERVATION = Observation(
    velocity_range=(-30.0, 30.0), continuum_degree=1, emulator_error=False
)
TINY = {
    "n_directions": 32,
    "n_hidden": 96,
    "n_layers": 2,
    "batch_size": 128,
    "n_held_out": 400,
    "device": "cpu",
    "random_state": 0,
}


@pytest.fixture(scope="session")
def grid():
    """401 analytic spectra at 257 wavelengths; don't write into them."""
    return analytic.make_grid()


@pytest.fixture(scope="session")
def make_emulator(grid):
    """Give a function that makes fitted emulators of the grid."""

    def make(**changes):
        return analytic.make_emulator(grid, **changes).fit(grid.data, grid.target)

    return make


@pytest.fixture(scope="session")
def emulator(make_emulator):
    """A fitted emulator; don't change it."""
    return make_emulator()


@pytest.fixture(scope="session")
def observation():
    """A velocity within 30 km/s, a continuum of degree 1; don't change it."""
    return OBSERVATION


@pytest.fixture(scope="session")
def make_posterior(emulator, observation):
    """Give a function that makes posteriors that are not fitted."""

    def make(**changes):
        arguments = {"emulator": emulator, "observation": observation} | TINY
        return NeuralPosterior(**(arguments | {"max_steps": 150} | changes))

    return make


@pytest.fixture(scope="session")
def posterior(make_posterior):
    """A fitted posterior; don't change it."""
    return make_posterior(max_steps=600).fit()


@pytest.fixture(scope="session")
def stars(emulator):
    """Give a function that makes spectra, with labels and velocities."""

    def make(n, *, seed=0, snr=100.0, extent=0.8, wavelength=None):
        rng = np.random.default_rng(seed)
        low, high = emulator.label_low_, emulator.label_high_
        unit = rng.uniform(-extent, extent, (n, len(low)))
        labels = (low + high) / 2 + unit * (high - low) / 2
        velocity = rng.uniform(-20, 20, n)
        pixels = emulator.wavelength_ if wavelength is None else wavelength
        flux = np.ones((n, len(pixels)))
        for i in range(n):
            rest = pixels / doppler_factor(velocity[i])
            inside = (rest >= emulator.wavelength_[0]) & (
                rest <= emulator.wavelength_[-1]
            )
            flux[i, inside] = emulator.predict(labels[[i]], wavelength=rest[inside])[0]
        flux += rng.standard_normal(flux.shape) / snr
        spectra = SpectrumSet(
            flux,
            np.full(flux.shape, snr**2.0),
            wavelength=pixels,
            medium=emulator.medium_,
            resolving_power=np.full(flux.shape, float(emulator.resolving_power_)),
        )
        return spectra, labels, velocity

    return make
