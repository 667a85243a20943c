"""Tests of what training leaves alone: random states, of other devices and threads."""

from concurrent.futures import ThreadPoolExecutor

import fake_accelerator
import numpy as np
import pytest
import torch
from torch import nn

from sk_payne import load
from sk_payne.emulators._device import (
    keep_random_state,
    read_random_state,
    seed_random_state,
    write_random_state,
)


class Dropping(nn.Module):
    """An architecture that draws random numbers at every step."""

    def __init__(self, n_labels, n_wavelengths):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_labels, 13), nn.Dropout(0.3), nn.Linear(13, n_wavelengths)
        )

    def forward(self, labels):
        return self.layers(labels)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("arch", ["payne", Dropping])
def test_random_state_of_a_device_is_not_touched_by_work_on_the_cpu(
    make_tiny, tiny_grid, tmp_path, kind, arch
):
    with fake_accelerator.pretend(kind):
        emulator = make_tiny(arch, max_steps=5).fit(tiny_grid.data, tiny_grid.target)
        emulator.predict(tiny_grid.data[:2])
        if arch == "payne":
            emulator.save(tmp_path / "payne.safetensors")
            load(tmp_path / "payne.safetensors")
        assert fake_accelerator.used_random_state() == []


@pytest.mark.parametrize("arch", ["payne", Dropping])
def test_random_states_are_left_alone_by_a_fit_on_a_device(
    device, make_tiny, tiny_grid, arch
):
    before = read_random_state(device)
    emulator = make_tiny(arch, max_steps=5, device=device)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    after = read_random_state(device)
    assert before.keys() == after.keys()
    for kind, state in before.items():
        assert torch.equal(after[kind], state)


def test_random_state_of_a_device_decides_what_it_draws(device):
    with keep_random_state(device):
        seed_random_state(5, device)
        state = read_random_state(device)
        drawn = torch.rand(3, device=device), torch.rand(3, device="cpu")
        write_random_state(state, device)
        again = torch.rand(3, device=device), torch.rand(3, device="cpu")
        seed_random_state(5, device)
        seeded = torch.rand(3, device=device), torch.rand(3, device="cpu")
    for first, second, third in zip(drawn, again, seeded, strict=True):
        assert first.tolist() == second.tolist() == third.tolist()


def test_random_state_is_put_back_on_a_device_if_training_fails(device):
    before = read_random_state(device)

    def fail():
        with keep_random_state(device):
            seed_random_state(5, device)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    for kind, state in read_random_state(device).items():
        assert torch.equal(state, before[kind])


@pytest.mark.parametrize("arch", ["payne", Dropping])
def test_threads_that_fit_at_once_on_a_device_give_what_each_gives_alone(
    device, make_tiny, short_grid, arch
):
    def fit(seed):
        emulator = make_tiny(arch, max_steps=5, device=device, random_state=seed)
        emulator.fit(short_grid.data, short_grid.target)
        return emulator.predict(short_grid.data[:2])

    alone = [fit(seed) for seed in (0, 0, 1, 2)]
    before = read_random_state(device)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fit, (0, 0, 1, 2)))
    np.testing.assert_array_equal(together, alone)
    for kind, state in read_random_state(device).items():
        assert torch.equal(state, before[kind])


def test_threads_that_fit_at_once_on_the_device_cpu_leave_its_random_state(
    make_tiny, tiny_grid
):
    def fit(seed):
        emulator = make_tiny(Dropping, max_steps=17, random_state=seed)
        emulator.fit(tiny_grid.data, tiny_grid.target)
        return emulator.predict(tiny_grid.data[:2])

    alone = [fit(seed) for seed in (0, 0, 1, 2)]
    before = torch.random.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fit, (0, 0, 1, 2)))
    np.testing.assert_array_equal(together, alone)
    assert torch.equal(torch.random.get_rng_state(), before)
