"""Tests of a user's default precision and default device, which are not ours."""

import pickle

import numpy as np
import pytest
import torch

from sk_payne import AbundanceRegressor, load
from sk_payne.networks import NETWORKS
from sk_payne.spectra import SpectrumSet

SETTINGS = {
    "float64": (torch.float64, None),
    "device meta": (torch.float32, "meta"),
    "both": (torch.float64, "meta"),
}


@pytest.fixture(params=SETTINGS)
def settings(request):
    """Defaults of torch that a user has set for work of another kind."""
    dtype, device = SETTINGS[request.param]
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.set_default_device(device)
    yield request.param
    torch.set_default_device(None)
    torch.set_default_dtype(before)


@pytest.mark.parametrize("arch", NETWORKS)
def test_default_device_and_precision_do_not_matter_to_emulators(
    settings, fitted, make_tiny, tiny_grid, tmp_path, arch
):
    labels = tiny_grid.data[:3]
    emulator = make_tiny(arch, max_steps=7)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    at = tiny_grid.wavelength[5:9] + 0.01
    emulator.save(tmp_path / "shared")
    for wavelength in (None, at):
        expected = emulator.predict(labels, wavelength=wavelength)
        assert np.isfinite(expected).all()
        for other in (load(tmp_path / "shared"), pickle.loads(pickle.dumps(emulator))):
            found = other.predict(labels, wavelength=wavelength)
            np.testing.assert_array_equal(found, expected)
    single = emulator.predict(labels.astype(np.float32))
    np.testing.assert_allclose(single, emulator.predict(labels), atol=1e-4)


def test_default_device_does_not_change_a_training(make_tiny, tiny_grid):
    def fit():
        emulator = make_tiny("transformer", max_steps=7)
        emulator.fit(tiny_grid.data, tiny_grid.target)
        return emulator.predict(tiny_grid.data[:3])

    expected = fit()
    with torch.device("meta"):
        found = fit()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("arch", ["payne", "transformer"])
@pytest.mark.parametrize(
    "options",
    [
        {"vsini": (0, 30), "estimate": "mean"},
        {"continuum_degree": 1, "clip": 5, "error_floor": "fit"},
    ],
    ids=str,
)
def test_default_device_and_precision_do_not_matter_to_measuring(
    settings, fitted, tiny_grid, arch, options
):
    flux = np.random.default_rng(0).normal(
        fitted[arch].predict(tiny_grid.data[:2]), 0.01
    )
    stars = SpectrumSet(
        flux,
        np.full(flux.shape, 1e4),
        wavelength=tiny_grid.wavelength,
        medium=tiny_grid.medium,
    )
    regressor = AbundanceRegressor(
        fitted[arch], velocity_range=(-30, 30), resolving_power="emulator", **options
    )
    found = regressor.measure(stars)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            expected = regressor.measure(stars)
    finally:
        torch.set_default_dtype(before)
    for name in found.colnames:
        if found[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
