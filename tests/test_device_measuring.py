"""Tests of measuring stars and of inspection with emulators on a device."""

import pickle

import numpy as np
import pytest

from sk_payne import AbundanceRegressor
from sk_payne.spectra import SpectrumSet

VELOCITY = {"velocity_range": (-30, 30)}
OPTIONS = {
    "on the grid": {"velocity_range": None},
    "velocity": VELOCITY,
    "widths": VELOCITY
    | {"vsini": (0, 30), "vmac": (0, 5), "resolving_power": (5000.0, 15000.0)},
    "continuum": VELOCITY | {"continuum_degree": 1},
    "weighed": VELOCITY | {"clip": 5, "error_floor": "fit"},
    "mean": VELOCITY | {"estimate": "mean"},
    "priors": VELOCITY | {"priors": {"teff": (5000, 50)}, "fixed": {"m_h": 0.0}},
    "integrated": VELOCITY | {"integrate_pixels": True},
    "arms": VELOCITY | {"arm_offsets": (-3, 3)},
}
# of labels in the errors of a fit: float32 against float64
TOLERANCE = 0.05


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def pair(device, make_tiny, tiny_grid, kept):
    """Give a function that gives an emulator on the device, and its copy on the CPU."""

    def get(arch):
        if (device, arch) not in kept:
            emulator = make_tiny(arch, device=device, recipe={"precision": "float32"})
            emulator.fit(tiny_grid.data, tiny_grid.target)
            kept[device, arch] = emulator, pickle.loads(pickle.dumps(emulator))
        return kept[device, arch]

    return get


@pytest.fixture
def observe(tiny_grid):
    """Give a function that makes stars of an emulator, with noise of 1 %."""

    def make(emulator, *, arms=False, **changes):
        flux = emulator.predict(tiny_grid.data[:3])
        flux = np.random.default_rng(1).normal(flux, 0.01)
        n = flux.shape[1]
        if arms:
            changes["arm"] = (np.arange(n) > n // 2).astype(int)
        return SpectrumSet(
            flux,
            np.full(flux.shape, 1e4),
            wavelength=tiny_grid.wavelength,
            medium=tiny_grid.medium,
            **changes,
        )

    return make


def assert_same_labels(found, expected, names):
    for name in names:
        error = np.asarray(expected[f"{name}_error"])
        difference = np.asarray(found[name]) - np.asarray(expected[name])
        assert (np.abs(difference) <= TOLERANCE * error + 1e-9).all(), name


@pytest.mark.parametrize("options", OPTIONS)
def test_measure_on_a_device_gives_the_labels_of_the_cpu(
    pair, observe, tiny_grid, options
):
    there, here = pair("payne")
    stars = observe(here, arms=options == "arms")
    found, expected = (
        AbundanceRegressor(emulator, **OPTIONS[options]).measure(
            stars, return_model=True
        )[0]
        for emulator in (there, here)
    )
    assert_same_labels(found, expected, tiny_grid.label_names)
