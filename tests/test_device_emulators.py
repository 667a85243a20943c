"""Tests of emulators on a device: as on the CPU, wherever the flux is."""

import copy
import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sk_payne import FineTunedEmulator, load
from sk_payne.exceptions import TrainingInterruptedWarning

ARCHS = ("payne", "opacity", "transformer")
ONE_LAYER = {"width": 16, "n_layers": 1, "n_tokens": 3}
FLOAT32 = {"precision": "float32"}
# of flux, after a few steps in float32 whose sums are in another order
TOLERANCE = 2e-4


class StopAt(Callback):
    """Ctrl-C after a step."""

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, net, training=False, **kwargs):
        if training and net.n_steps == self.step:
            raise KeyboardInterrupt


class Dropping(nn.Module):
    """An architecture that draws random numbers on the device."""

    def __init__(self, n_labels, n_wavelengths):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_labels, 13), nn.Dropout(0.3), nn.Linear(13, n_wavelengths)
        )

    def forward(self, labels):
        return self.layers(labels)


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture(scope="module")
def make(make_tiny):
    def make_short(arch="payne", recipe=None, **changes):
        recipe = FLOAT32 | {"validate_every": 2} | (recipe or {})
        arguments = {"max_steps": 5, "arch": arch, "recipe": recipe}
        return make_tiny(**(arguments | changes))

    return make_short


@pytest.fixture(scope="module")
def on_cpu(make, short_grid):
    """Predictions, in float32, of emulators that were trained on the CPU."""
    labels = short_grid.data[:3].astype(np.float32)

    def predict(arch, **changes):
        emulator = make(arch, **changes)
        return emulator.fit(short_grid.data, short_grid.target).predict(labels)

    return {arch: predict(arch) for arch in ARCHS}


@pytest.fixture
def fit(device, make, short_grid, kept):
    """Give a function that fits an emulator on the device, once."""

    def fit_once(arch):
        if (device, arch) not in kept:
            emulator = make(arch, device=device)
            kept[device, arch] = emulator.fit(short_grid.data, short_grid.target)
        return kept[device, arch]

    return fit_once


@pytest.fixture
def no_room(monkeypatch):
    """Devices of which half is too small for any flux."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (100, 200))
    monkeypatch.setattr(
        "sk_payne.emulators._training.fits_on", lambda device, n_bytes: False
    )


@pytest.fixture
def close_to(device, short_grid):
    """Give a function that compares the flux of an emulator on the device."""

    def check(emulator, expected):
        assert emulator.device_.startswith(device)
        found = emulator.predict(short_grid.data[:3].astype(np.float32))
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)

    return check


@pytest.mark.parametrize("arch", ARCHS)
def test_fit_on_a_device_gives_the_flux_of_the_cpu(fit, on_cpu, close_to, arch):
    close_to(fit(arch), on_cpu[arch])


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_fit_on_a_device_too_small_for_the_flux_gives_the_flux_of_the_cpu(
    device, no_room, make, short_grid, on_cpu, close_to, arch
):
    emulator = make(arch, device=device).fit(short_grid.data, short_grid.target)
    close_to(emulator, on_cpu[arch])


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_fit_on_a_device_with_flux_on_disk_gives_the_flux_of_the_cpu(
    device, no_room, make, short_grid, on_cpu, close_to, tmp_path, arch
):
    np.save(tmp_path / "flux.npy", short_grid.target)
    flux = np.load(tmp_path / "flux.npy", mmap_mode="r")
    close_to(make(arch, device=device).fit(short_grid.data, flux), on_cpu[arch])


@pytest.mark.parametrize("room", ["room", "no room"])
@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_fit_on_a_device_with_weights_and_drawn_wavelengths_gives_the_flux_of_the_cpu(
    request, device, make, short_grid, close_to, arch, room
):
    error = np.random.default_rng(0).uniform(0.01, 0.02, short_grid.target.shape)
    options = {"uncertainty": error, "mask": error > 0.019}
    recipe = {"n_wavelengths": 17}
    data = short_grid.data, short_grid.target
    expected = make(arch, recipe).fit(*data, **options)
    expected = expected.predict(short_grid.data[:3].astype(np.float32))
    if room == "no room":
        request.getfixturevalue("no_room")
    close_to(make(arch, recipe, device=device).fit(*data, **options), expected)


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_fit_on_a_device_in_bfloat16_is_finite(device, make, short_grid, arch):
    emulator = make(arch, {"precision": "auto"}, device=device)
    emulator.fit(short_grid.data, short_grid.target)
    assert np.isfinite(emulator.predict(short_grid.data[:3])).all()


@pytest.mark.parametrize("arch", ARCHS)
def test_predict_on_a_device_at_wavelengths_with_errors_is_that_of_the_cpu(
    fit, short_grid, arch
):
    emulator, labels = fit(arch), short_grid.data[:3].astype(np.float32)
    here = pickle.loads(pickle.dumps(emulator))
    wavelength = short_grid.wavelength[3:9] + 0.01
    for at in (None, wavelength):
        found = emulator.predict(labels, wavelength=at, return_std=True)
        expected = here.predict(labels, wavelength=at, return_std=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    score = emulator.score(short_grid.data, short_grid.target)
    assert score == pytest.approx(here.score(short_grid.data, short_grid.target))
    assert (emulator.domain(labels) == here.domain(labels)).all()


@pytest.mark.parametrize("arch", ARCHS)
def test_save_load_pickle_and_copy_of_a_device_give_its_flux(
    fit, short_grid, tmp_path, arch
):
    emulator, labels = fit(arch), short_grid.data[:3].astype(np.float32)
    expected = emulator.predict(labels)
    emulator.save(tmp_path / "shared")
    for other in (
        load(tmp_path / "shared"),
        pickle.loads(pickle.dumps(emulator)),
        copy.deepcopy(emulator),
    ):
        np.testing.assert_allclose(other.predict(labels), expected, atol=1e-5)


@pytest.mark.parametrize("arch", ARCHS)
def test_to_torch_on_a_device_gives_flux_and_gradients_there(
    fit, device, short_grid, arch
):
    emulator = fit(arch)
    module = emulator.to_torch()
    labels = torch.tensor(short_grid.data[:2], dtype=torch.float32).to(device)
    labels.requires_grad_(True)
    at = torch.tensor(short_grid.wavelength[2:5], dtype=torch.float32).to(device)
    for wavelength in (None, at, at.cpu()):
        flux = module(labels, wavelength)
        flux.sum().backward()
        assert flux.device.type == labels.grad.device.type
    expected = emulator.predict(short_grid.data[:2].astype(np.float32))
    np.testing.assert_allclose(
        module(labels).detach().cpu().numpy(), expected, atol=1e-5
    )
    double = emulator.to_torch(dtype=torch.float64, device="cpu")
    assert double(torch.tensor(short_grid.data[:2])).dtype == torch.float64


@pytest.mark.parametrize("arch", ["payne", Dropping, "transformer"])
def test_partial_fit_on_a_device_goes_on_as_if_it_had_not_been_stopped(
    device, make, short_grid, arch
):
    data = short_grid.data, short_grid.target
    recipe = {"average": 0.5, "patience": 9}
    whole = make(arch, recipe, device=device).fit(*data)
    part = make(arch, recipe, device=device, callbacks=[StopAt(3)])
    with pytest.warns(TrainingInterruptedWarning):
        part.fit(*data)
    part.set_params(callbacks=None).partial_fit(*data)
    np.testing.assert_allclose(
        part.predict(data[0][:3]), whole.predict(data[0][:3]), atol=1e-6
    )


def test_checkpoint_of_a_device_goes_on_there_and_on_the_cpu(
    device, make, short_grid, tmp_path
):
    data = short_grid.data, short_grid.target
    expected = make("payne").fit(*data).predict(data[0][:3])
    for place in (device, "cpu"):
        path = tmp_path / f"{place}.pt"
        part = make(device=device, checkpoint=path, callbacks=[StopAt(3)])
        with pytest.warns(TrainingInterruptedWarning):
            part.fit(*data)
        assert path.exists()
        whole = make(device=place, checkpoint=path).fit(*data)
        np.testing.assert_allclose(whole.predict(data[0][:3]), expected, atol=TOLERANCE)


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_fine_tuning_on_a_device_rehearses_and_gives_the_flux_of_the_cpu(
    device, fit, short_grid, close_to, arch
):
    base = fit(arch)
    here = pickle.loads(pickle.dumps(base))
    old = short_grid.data[:50], short_grid.target[:50]
    new = short_grid.data[50:], 0.98 * short_grid.target[50:]
    options = {"max_steps": 3, "recipe": FLOAT32, "rehearse": old, "random_state": 0}
    expected = FineTunedEmulator(here, device="cpu", **options).fit(*new)
    expected = expected.predict(short_grid.data[:3].astype(np.float32))
    close_to(FineTunedEmulator(base, device=device, **options).fit(*new), expected)


def test_fit_on_a_device_keeps_no_flux_there(device, make, tiny_grid):
    emulator = make(device=device).fit(tiny_grid.data, tiny_grid.target)
    shapes, seen = [], set()

    def walk(value):
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            shapes.append(tuple(value.shape))
        elif isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list | tuple | set):
            for item in value:
                walk(item)
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            walk(vars(value))

    walk(vars(emulator.net_))
    n_wavelengths = tiny_grid.target.shape[1]
    n_held_out = emulator.n_held_out_
    assert any(shapes)
    assert (n_held_out, n_wavelengths) not in shapes
    assert (len(tiny_grid.data) - n_held_out, n_wavelengths) not in shapes


@pytest.mark.parametrize(
    ("device", "arch", "changes"),
    [
        ("cuda", "payne", {}),
        ("cuda", "opacity", {}),
        ("cuda", "transformer", {"arch_params": ONE_LAYER}),
        # on the CPU, as "mps" has no float64: one network shows how it comes there
        ("mps", "payne", {}),
    ],
    indirect=["device"],
)
def test_errors_of_labels_on_a_device_are_those_of_the_cpu(
    device, make, tiny_grid, arch, changes
):
    found, expected = (
        make(arch, max_steps=2, device=place, **changes)
        .fit(tiny_grid.data, tiny_grid.target)
        .trained_.held_out.label_errors
        for place in (device, "cpu")
    )
    for name, values in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=0.02, atol=0.02)
