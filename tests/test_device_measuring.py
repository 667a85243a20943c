"""Tests of measuring stars and of inspection with emulators on a device."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from regressors import make_regressor

from sk_payne import Observation
from sk_payne.abundances import measure_catalogue
from sk_payne.datasets import make_spectra
from sk_payne.inspection import (
    attention_maps,
    cramer_rao,
    sensitivity,
    token_response,
)
from sk_payne.recovery import mock_recovery
from sk_payne.spectra import SpectrumSet

AT_REST = {"velocity_range": None, "resolving_power": "emulator"}
VELOCITY = {"velocity_range": (-30, 30), "resolving_power": "emulator"}
OPTIONS = {
    "on the grid": AT_REST,
    "velocity": VELOCITY,
    "widths": VELOCITY
    | {"vsini": (0, 30), "vmac": (0, 5), "resolving_power": (5000.0, 15000.0)},
    "continuum": VELOCITY | {"continuum_degree": 1},
    "weighed": VELOCITY | {"clip": 5, "error_floor": "fit"},
    "correlated": VELOCITY | {"error_length": 20.0},
    "mean": VELOCITY | {"estimate": "mean"},
    "priors": VELOCITY | {"priors": {"teff": (5000, 50)}, "fixed": {"Fe_H": 0.0}},
    "integrated": VELOCITY | {"integrate_pixels": True},
    "arms": VELOCITY | {"arm_offsets": (-3, 3)},
}
# stars are measured on the CPU for "mps", so one case shows how they come there
CASES = [("cuda", options) for options in OPTIONS] + [("mps", "widths")]
# of labels in the errors of a fit: float32 against float64
TOLERANCE = 0.2


@pytest.fixture(scope="module")
def grid():
    """101 analytic spectra of three labels; don't write into them."""
    names = ("teff", "Fe_H", "Mg_H")
    return make_spectra(101, n_wavelengths=61, label_names=names, random_state=0)


@pytest.fixture(scope="module")
def here(grid, make_tiny):
    """Emulators on the CPU; don't change them."""

    def fit(arch, max_steps):
        emulator = make_tiny(
            arch,
            max_steps=max_steps,
            wavelength=grid.wavelength,
            resolving_power=grid.resolving_power,
            label_names=grid.label_names,
            label_units=grid.label_units,
        )
        return emulator.fit(grid.data, grid.target)

    return {"payne": fit("payne", 307)} | {
        arch: fit(arch, 53) for arch in ("opacity", "transformer")
    }


@pytest.fixture
def pair(device, here):
    """Give a function that gives an emulator on the device, and the same on the CPU."""

    def get(arch):
        there = copy.deepcopy(here[arch])
        trained = there.trained_
        module = trained.module.to(device)
        there.trained_ = replace(trained, module=module, device=device)
        return there, here[arch]

    return get


@pytest.fixture
def observe(grid):
    """Give a function that makes stars of an emulator, with noise of 1 %."""

    def make(emulator, *, arms=False, **changes):
        flux = emulator.predict(grid.data[:2])
        flux = np.random.default_rng(1).normal(flux, 0.01)
        n = flux.shape[1]
        if arms:
            changes["arm"] = (np.arange(n) > n // 2).astype(int)
        return SpectrumSet(
            flux,
            np.full(flux.shape, 1e4),
            wavelength=grid.wavelength,
            medium=grid.medium,
            **changes,
        )

    return make


def assert_same_labels(found, expected, names):
    for name in names:
        error = np.asarray(expected[f"{name}_error"])
        difference = np.asarray(found[name]) - np.asarray(expected[name])
        assert (np.abs(difference) <= TOLERANCE * error + 1e-9).all(), name


@pytest.mark.parametrize(("device", "options"), CASES, indirect=["device"])
def test_measure_on_a_device_gives_the_labels_of_the_cpu(pair, observe, grid, options):
    there, here = pair("payne")
    stars = observe(here, arms=options == "arms")
    found, expected = (
        make_regressor(emulator, **OPTIONS[options]).measure(stars, return_model=True)[
            0
        ]
        for emulator in (there, here)
    )
    assert_same_labels(found, expected, grid.label_names)


@pytest.mark.parametrize(
    ("device", "arch"),
    [("cuda", "opacity"), ("cuda", "transformer"), ("mps", "transformer")],
    indirect=["device"],
)
def test_measure_of_a_network_on_a_device_gives_the_labels_of_the_cpu(
    pair, observe, grid, arch
):
    there, here = pair(arch)
    stars = observe(here)
    found, expected = (
        make_regressor(emulator, Observation(continuum_degree=1), **VELOCITY).measure(
            stars
        )
        for emulator in (there, here)
    )
    assert_same_labels(found, expected, grid.label_names)


@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_limits_and_posterior_on_a_device_are_those_of_the_cpu(pair, observe, grid):
    there, here = pair("payne")
    stars = observe(here)[:1]
    regressors = [make_regressor(e, **VELOCITY) for e in (there, here)]
    tables = [r.limits(stars, [grid.label_names[1]]) for r in regressors]
    for name in tables[0].colnames:
        if tables[0][name].dtype.kind == "f":
            found, expected = (np.asarray(table[name]) for table in tables)
            np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.02)
    found, expected = (
        r.posterior(stars, sampler="importance", n_draws=64, random_state=0)
        for r in regressors
    )
    assert np.isfinite(found.samples[0]).all()
    scatter = expected.samples[0].std(axis=0)
    shift = found.samples[0].mean(axis=0) - expected.samples[0].mean(axis=0)
    assert (np.abs(shift) <= scatter).all()


def test_mock_recovery_and_catalogue_on_a_device_are_complete(pair, observe, tmp_path):
    there, here = pair("payne")
    regressor = make_regressor(there, **AT_REST)
    recovery = mock_recovery(regressor, snr=(100,), n_stars=5, random_state=0)
    assert np.isfinite(recovery.measured).all()
    regressor = make_regressor(there, **VELOCITY)
    measure_catalogue(regressor, observe(here), tmp_path / "stars", verbose=0)
    assert any((tmp_path / "stars").iterdir())


@pytest.mark.parametrize("arch", ["payne", "opacity", "transformer"])
def test_derivatives_on_a_device_are_those_of_the_cpu(pair, grid, arch):
    labels = grid.data[:3]
    found, expected = (sensitivity(e, labels).derivative for e in pair(arch))
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    found, expected = (cramer_rao(e, labels, 100).error for e in pair(arch))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_attention_and_tokens_on_a_device_are_those_of_the_cpu(pair, grid):
    labels = grid.data[:3]
    emulators = pair("transformer")
    at = grid.wavelength[5:9] + 0.01
    for wavelength in (None, at):
        found, expected = (attention_maps(e, labels, wavelength) for e in emulators)
        np.testing.assert_allclose(found.attention, expected.attention, atol=1e-6)
    found, expected = (token_response(e, labels) for e in emulators)
    np.testing.assert_allclose(found.response, expected.response, atol=1e-6)
