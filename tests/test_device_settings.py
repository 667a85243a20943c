"""Tests of a user's default precision and default device, which are not ours."""

import ast
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from regressors import make_regressor

import sk_payne
from sk_payne import Observation, load
from sk_payne.networks import NETWORKS
from sk_payne.spectra import SpectrumSet

# Functions of torch that make tensors on the default device.
FACTORIES = {"arange", "as_tensor", "asarray", "empty", "eye", "full", "linspace"}
FACTORIES |= {"logspace", "ones", "rand", "randint", "randn", "randperm", "tensor"}
FACTORIES |= {"zeros", "rfftfreq", "fftfreq"}
# Networks are made, and looked at, within `torch.device("cpu")`.
BUILT = {"_building.py", "_chemistry.py", "_encoding.py", "_opacity.py"}
BUILT |= {"_opacity_tables.py"}

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
    regressor = make_regressor(
        fitted[arch],
        Observation(velocity_range=(-30, 30), resolving_power="emulator"),
        **options,
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


def test_default_device_is_never_asked_as_every_tensor_names_its_own():
    package = Path(sk_payne.__file__).parent
    unnamed = []
    for path in package.rglob("*.py"):
        if path.parent.name == "networks" and path.name in BUILT:
            continue
        tree = ast.parse(path.read_text())
        named = {
            call.func
            for call in ast.walk(tree)
            if isinstance(call, ast.Call)
            and any(keyword.arg in ("device", None) for keyword in call.keywords)
        }
        unnamed += [
            f"{path.relative_to(package)}:{node.lineno} {ast.unparse(node)}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr in FACTORIES
            and ast.unparse(node.value).split(".")[0] == "torch"
            and node not in named
        ]
    assert not unnamed
