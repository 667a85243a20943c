"""Fixtures of the tests of inference: emulators that are fitted once, and stars."""

import analytic
import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from specutils import Spectrum

from sk_payne.spectra import doppler_factor

SNR = 100.0


@pytest.fixture(scope="session")
def grid():
    """401 analytic spectra at 257 wavelengths; don't write into them."""
    return analytic.make_grid()


@pytest.fixture(scope="session")
def make_emulator(grid):
    """Give a function that makes unfitted emulators of the grid."""

    def make(**changes):
        return analytic.make_emulator(grid, **changes)

    return make


@pytest.fixture(scope="session")
def emulator(grid, make_emulator):
    """A fitted emulator; don't change it."""
    return make_emulator().fit(grid.data, grid.target)


@pytest.fixture(scope="session")
def emulators(grid, emulator, make_emulator):
    """One fitted emulator of each kind of network; don't change them."""
    small = {
        "convolutional": {"n_channels": 7, "n_hidden": 13},
        "transformer": {"width": 16, "n_layers": 2, "n_tokens": 3},
    }
    return {"payne": emulator} | {
        arch: make_emulator(arch=arch, arch_params=params, max_steps=53).fit(
            grid.data, grid.target
        )
        for arch, params in small.items()
    }


@pytest.fixture(scope="session")
def draw_labels(emulator):
    """Give a function that draws labels well inside the box."""

    def draw(n, seed=0, extent=0.5):
        unit = np.random.default_rng(seed).uniform(-extent, extent, (n, 3))
        low, high = emulator.label_low_, emulator.label_high_
        return (low + high) / 2 + unit * (high - low) / 2

    return draw


@pytest.fixture(scope="session")
def observe(emulator):
    """Give a function that makes a noisy Spectrum of what the emulator says."""

    def one(labels, *, velocity=0.0, pixels=slice(None), snr=SNR, seed=0, noise=1.0):
        flux = emulator.predict(np.atleast_2d(labels))[0][pixels]
        noise = noise * np.random.default_rng(seed).normal(size=len(flux)) / snr
        return Spectrum(
            flux=(flux + noise) * u.dimensionless_unscaled,
            spectral_axis=(emulator.wavelength_ * doppler_factor(velocity))[pixels]
            * u.AA,
            uncertainty=StdDevUncertainty(np.full(len(flux), 1 / snr)),
            meta={
                "medium": emulator.medium_,
                "resolving_power": emulator.resolving_power_,
            },
        )

    return one
