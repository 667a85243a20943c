"""Tests of batches: who comes when, and that rows and columns stay together."""

import pytest
import torch

from sk_payne.emulators._batches import (
    HeldOutBatches,
    RandomBatches,
    RandomOrder,
    SpectrumDataset,
)

N_SPECTRA, N_WAVELENGTHS = 17, 11
GRID = torch.linspace(3.65, 3.66, N_WAVELENGTHS, dtype=torch.float64)


def make_dataset(n_spectra=N_SPECTRA, grid=GRID):
    """Flux tells row and column: 100 * row + column."""
    rows = torch.arange(n_spectra, dtype=torch.float32)
    n_columns = N_WAVELENGTHS if grid is None else len(grid)
    flux = 100_000 * rows[:, None] + torch.arange(n_columns)
    return SpectrumDataset(rows[:, None], flux, grid)


def make_batches(dataset, **changes):
    arguments = {
        "batch_size": 5,
        "n_steps": 7,
        "budget": 1000,
        "n_wavelengths": None,
        "order": RandomOrder(0),
    }
    return RandomBatches(dataset, **(arguments | changes))


def rows_of(batch):
    return batch[0][0][:, 0].int().tolist()


@pytest.mark.parametrize("grid", [None, GRID])
def test_dataset_gives_labels_wavelengths_and_flux_of_rows(grid):
    dataset = make_dataset(grid=grid)
    inputs, flux = dataset[torch.tensor([7, 3])]
    assert len(dataset) == N_SPECTRA
    assert inputs[0][:, 0].tolist() == [7, 3]
    assert flux[:, 2].tolist() == [700_002, 300_002]
    assert len(inputs) == (1 if grid is None else 2)
    if grid is not None:
        assert torch.equal(inputs[1], GRID.expand(2, -1))


def test_every_spectrum_comes_once_before_any_comes_again():
    seen = []
    batches = make_batches(make_dataset())
    for _ in range(5):  # epochs, which do not matter
        seen += [row for batch in batches for row in rows_of(batch)]
    for start in range(0, len(seen) - N_SPECTRA + 1, N_SPECTRA):
        assert sorted(seen[start : start + N_SPECTRA]) == list(range(N_SPECTRA))
    assert len(seen) == 5 * 7 * 5


def test_order_of_the_spectra_changes_from_round_to_round():
    seen = [row for b in make_batches(make_dataset(), n_steps=17) for row in rows_of(b)]
    assert seen[:N_SPECTRA] != seen[N_SPECTRA : 2 * N_SPECTRA]


def test_batches_are_of_the_size_asked_for_or_of_all_spectra():
    assert {len(rows_of(b)) for b in make_batches(make_dataset())} == {5}
    large = make_batches(make_dataset(), batch_size=1009)
    assert {len(rows_of(b)) for b in large} == {N_SPECTRA}


@pytest.mark.parametrize(
    ("budget", "expected"), [(7, [7, 0]), (10, [7, 3]), (3, [3, 0]), (100, [7, 7])]
)
def test_budget_ends_the_iterations(budget, expected):
    batches = make_batches(make_dataset(), budget=budget)
    assert [len(list(batches)) for _ in range(2)] == expected


def test_same_seed_gives_the_same_batches_and_another_seed_others():
    found = [
        [
            batch[1].tolist()
            for batch in make_batches(
                make_dataset(),
                n_wavelengths=3,
                order=RandomOrder(seed),
            )
        ]
        for seed in (3, 3, 4)
    ]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("n_before", [0, 1, 3, 4])
@pytest.mark.parametrize("n_wavelengths", [None, 3])
def test_order_goes_on_from_its_state_as_if_it_had_not_stopped(n_before, n_wavelengths):
    # batches of 5 of 17 spectra: the fourth one begins a second round
    def batches(order, n_steps):
        found = make_batches(
            make_dataset(), order=order, n_steps=n_steps, n_wavelengths=n_wavelengths
        )
        return [flux.tolist() for _, flux in found]

    whole = batches(RandomOrder(0), 9)
    order = RandomOrder(0)
    assert batches(order, n_before) == whole[:n_before]
    state = order.state_dict()
    again = RandomOrder(1)
    again.load_state_dict(state)
    assert batches(again, 9 - n_before) == whole[n_before:]
    # and of the order that was asked, too
    assert batches(order, 9 - n_before) == whole[n_before:]


def test_wavelengths_are_drawn_for_each_spectrum_and_belong_to_its_flux():
    columns = []
    for (labels, wave), flux in make_batches(make_dataset(), n_wavelengths=3):
        assert wave.shape == flux.shape == (5, 3)
        assert wave.dtype == torch.float64
        drawn = (flux - 100_000 * labels).long()
        assert torch.equal(GRID[drawn], wave)
        columns += drawn.tolist()
    assert len({tuple(row) for row in columns}) > 7
    assert {column for row in columns for column in row} == set(range(N_WAVELENGTHS))


@pytest.mark.parametrize("n_wavelengths", [None, N_WAVELENGTHS, 1009])
def test_all_wavelengths_come_in_order_if_as_many_are_asked_for(n_wavelengths):
    for (labels, wave), flux in make_batches(
        make_dataset(), n_wavelengths=n_wavelengths
    ):
        assert torch.equal(wave, GRID.expand(5, -1))
        assert torch.equal(flux, 100_000 * labels + torch.arange(N_WAVELENGTHS))


def test_networks_on_a_grid_always_get_all_wavelengths():
    for (labels,), flux in make_batches(make_dataset(grid=None), n_wavelengths=3):
        assert labels.shape == (5, 1)
        assert flux.shape == (5, N_WAVELENGTHS)


@pytest.mark.parametrize("grid", [None, GRID])
def test_held_out_batches_hold_every_spectrum_once_and_in_order(grid):
    # 1009 spectra of 16 pixels, as which fewer count, are four blocks of 4096
    dataset = make_dataset(1009, grid)
    batches = list(HeldOutBatches(dataset, 5, n_wavelengths=512))
    assert [row for batch in batches for row in rows_of(batch)] == list(range(1009))
    assert [len(rows_of(batch)) for batch in batches] == [256, 256, 256, 241]
    for inputs, flux in batches:
        assert torch.equal(flux, 100_000 * inputs[0] + torch.arange(N_WAVELENGTHS))


def test_held_out_batches_look_at_evenly_spread_wavelengths():
    ((labels, wave), flux), *rest = HeldOutBatches(make_dataset(), 5, n_wavelengths=6)
    assert not rest
    assert torch.equal(wave, GRID[::2].expand(N_SPECTRA, -1))
    assert torch.equal(flux, 100_000 * labels + torch.arange(0, 11, 2))


def test_held_out_batches_of_networks_on_a_grid_look_at_all_wavelengths():
    ((_, flux),) = HeldOutBatches(make_dataset(grid=None), 5, n_wavelengths=6)
    assert flux.shape == (N_SPECTRA, N_WAVELENGTHS)
