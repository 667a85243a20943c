"""Tests of the flags that tell that residuals are no noise."""

import numpy as np
import pytest
import torch
from regressors import make_regressor

from sk_payne.abundances import FLAGS
from sk_payne.abundances._pixel_positions import pixel_positions
from sk_payne.abundances._residual_test import probability_of_residuals

N_PIXELS = 1999


def smooth(rng, n, length):
    """Gaussian processes with an exponential kernel, by a recursion, of variance 1."""
    decay, found = np.exp(-1 / length), np.empty((n, N_PIXELS))
    found[:, 0] = rng.standard_normal(n)
    for i in range(1, N_PIXELS):
        new = np.sqrt(1 - decay**2) * rng.standard_normal(n)
        found[:, i] = decay * found[:, i - 1] + new
    return found


def probability(flux, variance=1.0, systematic=0.0, length=1.0):
    """Probabilities of fits of five smooth functions by numpy."""
    rng = np.random.default_rng(5)
    jacobian = np.array(
        [np.convolve(f, np.ones(9), "same") for f in rng.normal(size=(5, N_PIXELS))]
    )
    residual = flux - (flux @ np.linalg.pinv(jacobian)) @ jacobian
    n = len(flux)
    covariance = variance * np.linalg.inv(jacobian @ jacobian.T)
    return probability_of_residuals(
        torch.tensor(residual),
        torch.full(flux.shape, 1 / variance, dtype=torch.float64),
        torch.full(flux.shape, systematic, dtype=torch.float64),
        torch.arange(N_PIXELS, dtype=torch.float64).expand(n, -1) / length,
        torch.tensor(np.tile(jacobian, (n, 1, 1))),
        torch.tensor(np.tile(covariance, (n, 1, 1))),
    )


@pytest.fixture(scope="module")
def noise():
    noise = np.random.default_rng(0).standard_normal((400, N_PIXELS))
    noise.flags.writeable = False
    return noise


def test_noise_is_noticed_as_seldom_as_the_probability_says(noise):
    found = probability(noise)
    # Bonferroni's bound, with what 400 stars leave open
    for level in (0.01, 0.05, 0.2):
        assert (found < level).mean() < level + 3 * np.sqrt(level / 400)
    assert (found < 0.2).mean() > 0.03


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_errors_that_are_wrong_as_a_whole_are_no_correlation(noise, factor):
    found = probability(factor * noise)
    assert (found < 0.001).mean() < 0.01


def test_single_outliers_are_no_correlation(noise):
    flux = noise.copy()
    flux[:, ::97] += 30.0
    assert (probability(flux) < 0.001).mean() < 0.01


@pytest.mark.parametrize("length", [2.0, 20.0, 200.0])
def test_weak_correlated_errors_are_noticed(noise, length):
    flux = noise[:50] + 0.6 * smooth(np.random.default_rng(1), 50, length)
    assert (probability(flux) < 0.001).mean() > 0.9


def test_neighbouring_outliers_are_noticed_wherever_they_are(noise):
    flux = noise[:50].copy()
    for row, first in enumerate(np.linspace(0, 1900, 50).astype(int)):
        flux[row, first : first + 6] += 5.0
    assert (probability(flux) < 0.001).mean() > 0.9


def test_errors_that_may_go_together_are_allowed_for(noise):
    flux = noise[:100] + smooth(np.random.default_rng(2), 100, 5.0)
    assert (probability(flux, 2.0) < 0.001).all()
    assert (probability(flux, 2.0, systematic=1.0, length=5.0) < 0.001).mean() < 0.02


def test_spectra_with_hardly_a_pixel_are_not_judged(noise):
    nothing = torch.zeros(1, 30, dtype=torch.float64)
    arguments = nothing, nothing, nothing, nothing[:, None], nothing[:, :1, None]
    assert probability_of_residuals(nothing, *arguments) == [1.0]


def test_arms_are_far_from_each_other():
    wavelength = np.array([[5000.0, 5001.0, 4999.0, 5000.0]])
    found = pixel_positions(wavelength, np.array([[0, 0, 1, 1]]))
    assert found[0, 2] - found[0, 1] > 1e6
    np.testing.assert_allclose(found[0, 3] - found[0, 2], 299792.458 / 5000, rtol=1e-3)


def test_a_step_of_the_gain_and_a_chi2_that_is_too_high_are_flagged(
    emulator, draw_labels
):
    labels = draw_labels(20, seed=7)
    flux = emulator.predict(labels)
    flux = flux + np.random.default_rng(7).standard_normal(flux.shape) / 100
    flux[5, 128:] *= 1.03
    regressor = make_regressor(
        emulator, snr=100, velocity_range=None, emulator_error=False
    )
    table = regressor.measure(flux)
    for name in ("CORRELATED_RESIDUALS", "HIGH_CHI2"):
        has = (table["flags"] & FLAGS[name][0]) > 0
        assert np.flatnonzero(has).tolist() == [5]
    assert np.flatnonzero(table["residual_p"] < 0.001).tolist() == [5]
    regressor = make_regressor(
        emulator, snr=150, velocity_range=None, emulator_error=False
    )
    has = regressor.measure(np.delete(flux, 5, axis=0))["flags"]
    assert (has & FLAGS["HIGH_CHI2"][0] > 0).mean() > 0.9
    assert not (has & FLAGS["CORRELATED_RESIDUALS"][0]).any()
