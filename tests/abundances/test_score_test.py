"""Tests of the test of residuals, and of the second valleys that it finds."""

import numpy as np
import pytest
import scipy.stats
import torch
from regressors import make_regressor

from sk_payne import Observation
from sk_payne.abundances._continuum import ContinuumModel, continuum_basis
from sk_payne.abundances._least_squares import fit_least_squares
from sk_payne.abundances._score_test import Directions, score_excess

N_STARS, N_PIXELS, N_DIRECTIONS = 997, 101, 7


@pytest.fixture(scope="module")
def linear():
    """Random derivatives and directions, inverse variances, and noise."""
    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=(3, N_PIXELS))
    directions = rng.normal(size=(N_DIRECTIONS, N_PIXELS))
    ivar = rng.uniform(0, 2, N_PIXELS)
    ivar[::11] = 0.0
    noise = rng.normal(size=(N_STARS, N_PIXELS)) / np.sqrt(ivar + (ivar == 0))
    return jacobian, directions, ivar, noise


def excess_of(
    flux, jacobian, directions, ivar, free=(True, True, True), systematic=0.0
):
    """Excess for many stars that share a linear model, fitted by numpy."""
    used = jacobian[np.array(free)]
    root = np.sqrt(ivar)
    best = np.linalg.lstsq((used * root).T, (flux * root).T, rcond=None)[0]
    residual = flux - best.T @ used
    n = len(flux)
    arrays = (
        residual,
        np.tile(ivar, (n, 1)),
        np.full((n, N_PIXELS), systematic),
        np.tile(jacobian, (n, 1, 1)),
        np.tile((jacobian * ivar) @ jacobian.T, (n, 1, 1)),
        np.tile(free, (n, 1)),
        directions[None],
    )
    return score_excess(*map(torch.from_numpy, arrays)).numpy()


@pytest.mark.parametrize("free", [(True, True, True), (True, False, True)])
def test_score_of_noise_follows_chi2(linear, free):
    jacobian, directions, ivar, noise = linear
    excess = excess_of(noise, jacobian, directions, ivar, free)
    chi2 = N_DIRECTIONS + np.sqrt(2 * N_DIRECTIONS) * excess
    assert scipy.stats.kstest(chi2, "chi2", (N_DIRECTIONS,)).pvalue > 1e-3


def test_score_is_the_fall_of_chi2_of_a_fit_with_the_directions(linear):
    jacobian, directions, ivar, noise = linear
    flux = noise[:5] + 1.0 * directions[0]
    root, falls = np.sqrt(ivar), []
    for model in (jacobian, np.vstack([jacobian, directions])):
        left = np.linalg.lstsq((model * root).T, (flux * root).T, rcond=None)[1]
        falls.append(left)
    expected = (falls[0] - falls[1] - N_DIRECTIONS) / np.sqrt(2 * N_DIRECTIONS)
    excess = excess_of(flux, jacobian, directions, ivar)
    np.testing.assert_allclose(excess, expected, rtol=1e-6)
    assert (excess > 5).all()


def test_directions_that_the_fit_can_go_do_not_count(linear):
    jacobian, directions, ivar, noise = linear
    more = np.vstack([directions, jacobian.sum(0), np.zeros(N_PIXELS)])
    np.testing.assert_allclose(
        excess_of(noise[:7], jacobian, more, ivar),
        excess_of(noise[:7], jacobian, directions, ivar),
        rtol=1e-7,
    )


def test_errors_that_go_together_do_not_pass_for_a_second_valley(linear):
    jacobian, directions, ivar, noise = linear
    flux = noise + np.sign(directions[0])
    total = ivar / (1 + ivar)
    blind = excess_of(flux, jacobian, directions, total)
    aware = excess_of(flux, jacobian, directions, total, systematic=1.0)
    assert blind.mean() > 3
    assert aware.mean() < 0


def test_directions_are_interpolated_principal_components(linear):
    templates = linear[3][:20]
    grid = np.geomspace(5000, 5010, N_PIXELS)
    directions = Directions(grid, templates, torch.device("cpu"))
    components = directions(None)[0].numpy()
    centred = templates - templates.mean(0)
    rebuilt = (components.T @ np.linalg.lstsq(components.T, centred.T, rcond=None)[0]).T
    np.testing.assert_allclose(rebuilt, centred, atol=1e-9)
    wanted = np.stack([grid[3:50] + 0.02, grid[40:87]])
    found = directions(torch.from_numpy(wanted)).numpy()
    for star, wavelength in zip(found, wanted, strict=True):
        expected = [np.interp(wavelength, grid, row) for row in components]
        np.testing.assert_allclose(star, expected, atol=1e-9)


def test_directions_under_a_continuum_are_orthogonal_to_it():
    rng = np.random.default_rng(1)

    class Flat:
        def flux(self, rows, parameters):
            return torch.ones(1, N_PIXELS, dtype=torch.float64)

        def directions(self, rows, parameters, directions):
            return directions

    wavelength = np.linspace(4500, 4520, N_PIXELS)[None]
    basis = continuum_basis(wavelength, np.ones(wavelength.shape), degree=1)
    flux, ivar = (torch.from_numpy(rng.uniform(1, 2, (1, N_PIXELS))) for _ in range(2))
    model = ContinuumModel(Flat(), flux, ivar, basis)
    given = torch.from_numpy(rng.normal(size=(1, 3, N_PIXELS)))
    found = model.directions(torch.tensor([0]), None, given)
    overlap = (found * ivar) @ basis.polynomials.mT
    assert torch.allclose(overlap, torch.zeros(1, 3, 2).double())


@pytest.mark.parametrize("options", [{}, {"continuum_degree": 1, "vsini": (0, 9)}])
def test_star_in_a_second_valley_is_found_out_and_fitted_again(
    emulator, observe, draw_labels, monkeypatch, options
):
    truth = draw_labels(1)[0]
    star = observe(truth, velocity=20.0, snr=100)
    regressor = make_regressor(emulator, Observation(emulator_error=False), **options)
    expected = regressor.measure(star)

    # a first fit that begins and ends far away, and a chi2 that is always believed
    def impatient(start, low, high, **options):
        if "rows" not in options:
            start, options["max_iterations"] = low + 0.1 * (high - low), 1
        return fit_least_squares(start=start, low=low, high=high, **options)

    room = "sk_payne.abundances"
    monkeypatch.setattr(f"{room}._problem.fit_least_squares", impatient)
    monkeypatch.setattr(f"{room}._search._is_poor", lambda chi2, dof: chi2 < 0)
    table = regressor.measure(star)
    for name in emulator.label_names_:
        np.testing.assert_allclose(
            table[name].value,
            expected[name].value,
            atol=0.01 * expected[f"{name}_error"].value[0],
        )
