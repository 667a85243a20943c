"""Fixtures of all tests: tiny emulators that are fitted once, and figures."""

import importlib.util
import os
import socket
import sys
from pathlib import Path

# Tiny networks are slower on two threads than on one; processes that tests start get
# one as well. Libraries read this when they are imported.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import pytest
import torch
from sklearn.utils import Bunch

from sk_payne import SpectrumEmulator
from sk_payne.datasets import make_spectra
from sk_payne.networks import NETWORKS


def _import_beside(name):
    """Make a module beside this file importable by its name."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fake_accelerator = _import_beside("fake_accelerator")
_import_beside("analytic")
_import_beside("public_names")
_import_beside("regressors")
_import_beside("spectrum_files")


def _forbid_network(event, arguments):
    """Refuse connections to other machines, from any library."""
    if event != "socket.connect":
        return
    own, address = arguments
    # a datagram socket sends nothing when it is connected
    if own.family == socket.AF_UNIX or own.type == socket.SOCK_DGRAM:
        return
    if address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise PermissionError(f"tests must not use the network; connect to {address}")


sys.addaudithook(_forbid_network)

# A device of this machine for the tests of devices; pretended ones if there is none.
REAL_DEVICE = os.environ.get("SK_PAYNE_DEVICE")

torch.set_num_threads(1)

# As small as still learns something in a few steps; others have their default size.
TINY_ARCH_PARAMS = {
    "payne": {"n_hidden": 23},
    "bigpayne": {"n_hidden": 17},
    "convolutional": {"n_channels": 7, "n_hidden": 13},
    "opacity": {"n_populations": 13, "n_hidden": 11, "width": 7, "n_sums": 2},
    "transformer": {"width": 16, "n_layers": 2, "n_tokens": 3},
}


@pytest.fixture(scope="session")
def data_file():
    """Give a function that finds a file of real data, or skips the test."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SK_PAYNE_DATA", default))

    def find(name):
        if not (folder / name).exists():
            pytest.skip(f"{name} is not here; set SK_PAYNE_DATA")
        return folder / name

    return find


@pytest.fixture(params=[REAL_DEVICE] if REAL_DEVICE else ["cuda", "mps"])
def device(request):
    """Name of a device, pretended or that of the variable SK_PAYNE_DEVICE."""
    if REAL_DEVICE:
        yield REAL_DEVICE
        return
    with fake_accelerator.pretend(request.param):
        yield request.param


@pytest.fixture(scope="session")
def tiny_grid():
    """101 analytic spectra at 61 wavelengths; don't write into them."""
    grid = make_spectra(101, n_wavelengths=61, random_state=0)
    grid.data.flags.writeable = grid.target.flags.writeable = False
    return grid


@pytest.fixture(scope="session")
def short_grid(tiny_grid):
    """80 spectra of the tiny grid: errors of labels need more, and are left out."""
    short = {name: getattr(tiny_grid, name)[:80] for name in ("data", "target")}
    return Bunch(wavelength=tiny_grid.wavelength, **short)


@pytest.fixture(scope="session")
def make_tiny(tiny_grid):
    """Give a function that makes unfitted tiny emulators of the tiny grid."""

    def make(arch="payne", **changes):
        defaults = {"lr": 1e-2, "loss": "mse", "batch_size": 31}
        recipe = defaults | changes.pop("recipe", {})
        arguments = {
            "arch": arch,
            "arch_params": TINY_ARCH_PARAMS.get(arch),
            "wavelength": tiny_grid.wavelength,
            "medium": tiny_grid.medium,
            "label_names": tiny_grid.label_names,
            "label_units": tiny_grid.label_units,
            "max_steps": 53,
            "recipe": recipe,
            "device": "cpu",
            "random_state": 0,
        }
        return SpectrumEmulator(**(arguments | changes))

    return make


@pytest.fixture(scope="session")
def fitted(tiny_grid, make_tiny):
    """One fitted tiny emulator per architecture; don't fit or change them."""
    return {
        arch: make_tiny(arch).fit(tiny_grid.data, tiny_grid.target) for arch in NETWORKS
    }


@pytest.fixture
def pyplot():
    """Pyplot without a screen, which starts and ends without figures."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    pyplot.close("all")
    yield pyplot
    pyplot.close("all")
