"""Tests of which labels fits start from."""

import numpy as np
import pytest
import torch
from regressors import model_of

from sk_payne.abundances._broadening import Broadening
from sk_payne.abundances._fitted_emulator import as_fitted_emulator
from sk_payne.abundances._starts import (
    LabelGuess,
    Starts,
    resample_roughly,
    template_parameters,
)
from sk_payne.emulators import TorchEmulator


def test_resampling_interpolates_and_forgets_bad_pixels_and_their_neighbours():
    wavelength = np.arange(5000.0, 5011.0)
    flux = 0.1 * np.arange(11.0)
    ivar = np.full(11, 4.0)
    flux[7], ivar[7] = 1e9, 0.0
    grid = np.array([4999.0, 5000.0, 5001.5, 5005.9, 5006.1, 5007.0, 5008.0, 5011.0])
    new_flux, new_ivar = resample_roughly(
        wavelength[None], flux[None], ivar[None], grid
    )
    assert new_ivar[0].tolist() == [0.0, 4.0, 4.0, 4.0, 0.0, 0.0, 4.0, 0.0]
    good = new_ivar[0] > 0
    expected = torch.tensor([0.0, 0.15, 0.59, 0.8], dtype=torch.float64)
    torch.testing.assert_close(new_flux[0][good], expected)


@pytest.mark.parametrize("n_templates", [2, 31, 64, 257])
def test_templates_are_the_middle_and_well_spread_others(n_templates):
    parameters = template_parameters(5, n_templates)
    assert parameters.shape == (n_templates, 5)
    assert (parameters[0] == 0).all()
    assert np.abs(parameters).max() <= 0.9
    assert len(np.unique(parameters, axis=0)) == n_templates


def test_templates_are_the_same_every_time():
    np.random.seed(5)  # noqa: NPY002 - the global state must not matter
    first = template_parameters(3, 61)
    np.random.seed(7)  # noqa: NPY002
    np.testing.assert_array_equal(first, template_parameters(3, 61))
    assert not np.array_equal(first, template_parameters(3, 61, seed=1))


def test_templates_cover_the_box_evenly():
    parameters = template_parameters(3, 257)[1:]
    # 256 Sobol points fall into equal slices of each axis in equal numbers
    counts = [np.histogram(column, 8, (-0.9, 0.9))[0] for column in parameters.T]
    np.testing.assert_array_equal(counts, np.full((3, 8), 32))


@pytest.fixture(scope="module")
def linear_guess():
    """A guess learnt on flux that is linear in two labels, and that flux."""
    rng = np.random.default_rng(8)
    design = torch.from_numpy(rng.normal(size=(2, 31)))
    parameters = torch.from_numpy(template_parameters(2, 61))

    def flux(p):
        return 1 + p @ design

    return LabelGuess(parameters, flux(parameters)), flux


def test_guess_of_linear_flux_is_nearly_exact(linear_guess):
    guess, flux = linear_guess
    truth = torch.tensor([[0.3, -0.7], [0.0, 0.0], [-0.5, 0.11]], dtype=torch.float64)
    found = guess(flux(truth), torch.ones(3, 31, dtype=torch.float64))
    # the ridge is 0.01 per template, the flux has variance 0.3 per pixel, 31 pixels
    torch.testing.assert_close(found, truth, rtol=0, atol=5e-3)


def test_guess_stays_within_the_box(linear_guess):
    guess, flux = linear_guess
    truth = torch.tensor([[7.0, -7.0]], dtype=torch.float64)
    found = guess(flux(truth), torch.ones(1, 31, dtype=torch.float64))
    assert found.tolist() == [[0.95, -0.95]]


def test_guess_fills_bad_pixels_from_the_best_template(linear_guess):
    guess, flux = linear_guess
    truth = torch.from_numpy(template_parameters(2, 61)[[17, 31]])
    spectrum, ivar = flux(truth), torch.ones(2, 31, dtype=torch.float64)
    whole = guess(spectrum, ivar)
    ivar[:, [3, 5, 7, 23]] = 0
    spectrum[:, [3, 5, 7, 23]] = 1e6
    # the star is a template, so what is filled in is what was there
    torch.testing.assert_close(guess(spectrum, ivar), whole)


def test_guess_without_any_data_is_inside_the_box(linear_guess):
    guess, _ = linear_guess
    found = guess(torch.zeros(1, 31).double(), torch.zeros(1, 31).double())
    assert torch.isfinite(found).all()
    assert found.abs().max() <= 0.95


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_templates_are_the_spectra_of_the_model_at_each_width(emulators, arch):
    inverted = as_fitted_emulator(emulators[arch])
    limits = {"vsini": (0.0, 30.0), "vmac": (0.0, 0.0)}
    broadening = Broadening.from_limits(inverted.wavelength, limits, 0.6)
    starts = Starts(inverted, broadening)
    assert starts.widths[:, 0].tolist() == [3.0, 10.0, 30.0]
    grid = torch.from_numpy(inverted.wavelength).expand(7, -1)
    model = model_of(inverted, grid, broadening=broadening)
    for width, guess in zip(starts.widths, starts.guesses, strict=True):
        widths = torch.from_numpy(width).expand(7, 1)
        flux = model.flux(torch.arange(7), torch.hstack([guess.parameters[:7], widths]))
        # templates are of single precision
        torch.testing.assert_close(guess.flux[:7], flux, rtol=0, atol=2e-5)
    spread = (starts.guesses[0].flux - starts.guesses[2].flux).abs().max()
    assert spread > 0.05


@pytest.fixture
def evaluations(monkeypatch):
    """Numbers of stars of which modules were asked for flux."""
    seen = []
    original = TorchEmulator.from_scaled

    def from_scaled(self, labels, wavelength=None):
        seen.append(len(labels))
        return original(self, labels, wavelength)

    monkeypatch.setattr(TorchEmulator, "from_scaled", from_scaled)
    return seen


def test_templates_of_an_emulator_are_made_once(grid, make_emulator, evaluations):
    emulator = make_emulator(max_steps=3).fit(grid.data, grid.target)
    evaluations.clear()
    first = Starts(as_fitted_emulator(emulator), None)
    assert sum(evaluations) == len(first.guesses[0].flux)
    second = Starts(as_fitted_emulator(emulator), None)
    assert sum(evaluations) == len(first.guesses[0].flux)
    np.testing.assert_array_equal(first.mean_flux, second.mean_flux)


def test_templates_follow_bounds_and_training(grid, make_emulator):
    emulator = make_emulator(max_steps=3).fit(grid.data, grid.target)
    low, high = emulator.label_low_, emulator.label_high_
    center, half = (low + high) / 2, (high - low) / 2
    wide = np.stack([low, high], axis=1)
    narrow = center[:, None] + 0.3 * half[:, None] * [-1, 1]

    def check(bounds):
        starts = Starts(as_fitted_emulator(emulator, bounds), None)
        unit = starts.middle + starts.half_width * starts.guesses[0].parameters
        expected = emulator.predict(center + half * unit.numpy())
        np.testing.assert_allclose(starts.guesses[0].flux, expected, rtol=0, atol=1e-5)
        return expected

    first, second = check(wide), check(narrow)
    emulator.set_params(max_steps=101).fit(grid.data, grid.target)
    again = check(wide)
    assert np.abs(first - second).max() > 1e-3
    assert np.abs(first - again).max() > 1e-3


def test_absent_pixels_are_not_invented_where_steps_vary():
    # a coarse and a fine half, and four pixels that are absent from the coarse one
    coarse, fine = np.arange(4500, 4600, 1.0), np.arange(4600, 4620, 0.05)
    wavelength = np.r_[coarse[:50], coarse[54:], fine][None]
    grid = np.arange(4500, 4620, 0.1) + 0.03
    ones = np.ones_like(wavelength)
    _, ivar = resample_roughly(wavelength, ones, ones, grid)
    inside = (grid > 4549) & (grid < 4554)
    assert not ivar[0].numpy()[inside].any()
    # the last coarse step is a hole to the rule, and of no importance
    assert ivar[0].numpy()[~inside].mean() > 0.98


def test_pixels_of_arms_that_overlap_are_no_holes():
    first, second = np.arange(4500, 4560, 0.1), np.arange(4530.03, 4600, 0.17)
    wavelength = np.r_[first, second][None]
    grid = np.arange(4500.05, 4599.5, 0.1)
    ones = np.ones_like(wavelength)
    _, ivar = resample_roughly(wavelength, ones, ones, grid)
    assert (ivar[0] == 1).all()
