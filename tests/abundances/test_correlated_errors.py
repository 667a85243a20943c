"""Tests of errors that follow from residuals which go together."""

import numpy as np
import pytest
from astropy import units as u
from regressors import make_regressor

from sk_payne.abundances._exponential_errors import ExponentialErrors, StarResiduals
from sk_payne.spectra import C_KMS

SIZE, LENGTH, SNR = 0.02, 100.0, 200


@pytest.fixture(scope="module")
def star():
    """Residuals of one star, and their dense covariance as a function."""
    rng = np.random.default_rng(0)
    n = 300
    positions = np.cumsum(rng.uniform(1, 4, n))
    positions[100:] += 1e9
    noise, continuum = rng.uniform(0.5, 2, n), rng.uniform(0.5, 2, n)
    derivatives = rng.standard_normal((4, n))

    def covariance(size, length):
        kernel = np.exp(-np.abs(positions[:, None] - positions) / length)
        return np.diag(noise) + size**2 * continuum[:, None] * kernel * continuum

    drawn = np.linalg.cholesky(covariance(1.0, 10.0)) @ rng.standard_normal(n)
    residuals = StarResiduals(drawn, noise, continuum, positions, derivatives)
    return residuals, covariance


def test_likelihood_is_that_of_dense_matrices(star):
    residuals, covariance = star

    def dense(size, length):
        a, z = residuals.derivatives, residuals.residual
        inverse = np.linalg.inv(covariance(size, length))
        normal = a @ inverse @ a.T
        score = a @ inverse @ z
        fitted = score @ np.linalg.solve(normal, score)
        logs = np.linalg.slogdet(covariance(size, length))[1]
        logs += np.linalg.slogdet(normal)[1]
        return -(logs + z @ inverse @ z - fitted) / 2

    first = dense(1.0, 10.0), residuals.log_likelihood(1.0, 10.0)
    for given in ((0.3, 2.0), (2.0, 100.0), (0.0, 1.0)):
        change = dense(*given) - first[0], residuals.log_likelihood(*given) - first[1]
        assert change[0] == pytest.approx(change[1], rel=1e-6)


def test_likelihood_does_not_change_with_what_was_fitted(star):
    residuals, _ = star
    before = residuals.log_likelihood(1.0, 10.0)
    moved = StarResiduals(
        residuals.residual + np.array([3.0, -1.0, 0.2, 5.0]) @ residuals.derivatives,
        residuals.noise,
        residuals.continuum,
        np.cumsum(np.r_[0.0, residuals.steps]),
        residuals.derivatives,
    )
    assert moved.log_likelihood(1.0, 10.0) == pytest.approx(before, abs=1e-5)


def test_spread_of_sums_is_that_of_dense_matrices(star):
    residuals, covariance = star
    a = residuals.derivatives
    np.testing.assert_allclose(
        residuals.spread(ExponentialErrors(0.7, 12.0)),
        a @ covariance(0.7, 12.0) @ a.T,
        rtol=1e-8,
        atol=1e-8,
    )


def test_size_and_length_are_found(star):
    residuals, covariance = star
    root = np.linalg.cholesky(covariance(1.0, 10.0))
    rng = np.random.default_rng(1)
    found = []
    for _ in range(30):
        own = StarResiduals(
            root @ rng.standard_normal(300),
            residuals.noise,
            residuals.continuum,
            np.cumsum(np.r_[0.0, residuals.steps]),
            residuals.derivatives,
        ).find()
        found.append([own.size, own.length])
    assert np.median(found, axis=0) == pytest.approx([1.0, 10.0], rel=0.15)
    assert residuals.find(5.0).length == 5.0


@pytest.fixture(scope="module")
def truth(draw_labels):
    return draw_labels(100, seed=11)


@pytest.fixture(scope="module")
def flux(emulator, truth):
    """Flux with noise, and errors drawn by the root of their dense covariance."""
    rng = np.random.default_rng(12)
    place = C_KMS * np.log(emulator.wavelength_)
    root = np.linalg.cholesky(np.exp(-np.abs(place[:, None] - place) / LENGTH))
    flux = emulator.predict(truth) + rng.standard_normal((len(truth), 257)) / SNR
    flux += SIZE * rng.standard_normal(flux.shape) @ root.T
    flux.flags.writeable = False
    return flux


def make(emulator, **options):
    options = {"velocity_range": None, "emulator_error": False, "snr": SNR} | options
    return make_regressor(emulator, **options)


def spread_of_pulls(table, emulator, truth):
    pulls = [
        (table[name].value - true) / table[f"{name}_error"].value
        for name, true in zip(emulator.label_names_, truth.T, strict=True)
    ]
    return np.std(pulls, axis=1)


@pytest.mark.parametrize("options", [{}, {"error_floor": "fit"}, {"clip": 6}])
def test_pulls_are_right_and_values_stay(emulator, flux, truth, options):
    plain = make(emulator, **options).measure(flux)
    table = make(emulator, error_length="fit", **options).measure(flux)
    for name in (*emulator.label_names_, "chi2", "error_floor"):
        np.testing.assert_array_equal(table[name], plain[name])
    assert spread_of_pulls(plain, emulator, truth).max() > 1.4
    # of 100 stars: three standard errors of a standard deviation
    assert np.abs(spread_of_pulls(table, emulator, truth) - 1).max() < 3 / 200**0.5
    assert np.median(table["correlated_error"]) == pytest.approx(SIZE, rel=0.2)
    median = np.median(table["error_length"].to_value(u.km / u.s))
    assert median == pytest.approx(LENGTH, rel=0.4)
    assert (plain["correlated_error"] == 0).all()
    assert np.isnan(plain["error_length"]).all()


def test_covariance_is_that_of_dense_matrices(emulator, flux):
    regressor = make(emulator, error_length=LENGTH, error_floor="fit")
    table, cov = regressor.measure(flux[:3], return_cov=True)
    place = C_KMS * np.log(emulator.wavelength_)
    kernel = np.exp(-np.abs(place[:, None] - place) / LENGTH)
    names = emulator.label_names_
    half = (emulator.label_high_ - emulator.label_low_) / 2
    for row in range(3):
        best = np.array([table[name][row].value for name in names])
        step = 1e-3 * np.diag(half)
        sides = [emulator.predict(best + s * step) for s in (-1, 1)]
        jacobian = (sides[1] - sides[0]) / (2e-3 * half[:, None])
        weight = 1 / (1 / SNR**2 + table["error_floor"][row] ** 2)
        inverse = np.linalg.inv(weight * jacobian @ jacobian.T)
        error = np.eye(257) / SNR**2 + table["correlated_error"][row] ** 2 * kernel
        spread = weight**2 * jacobian @ error @ jacobian.T
        expected = inverse @ spread @ inverse
        scale = np.sqrt(np.diagonal(expected))
        np.testing.assert_allclose(
            cov[row] / scale / scale[:, None],
            expected / scale / scale[:, None],
            atol=0.02,
        )


def test_continuum_and_velocity_are_allowed_for(emulator, flux, truth):
    options = {"continuum_degree": 2, "velocity_range": (-50, 50)}
    plain = make(emulator, **options).measure(flux[:60])
    table = make(emulator, error_length="fit", **options).measure(flux[:60])
    before, after = (
        spread_of_pulls(t, emulator, truth[:60]).mean() for t in (plain, table)
    )
    assert before > 1.3
    assert after == pytest.approx(1, abs=0.25)


def test_noise_alone_hardly_changes_errors(emulator, truth):
    noise = np.random.default_rng(13).standard_normal((30, 257))
    flux = emulator.predict(truth[:30]) + noise / SNR
    table = make(emulator, error_length="fit").measure(flux)
    plain = make(emulator).measure(flux)
    ratio = table["Fe_H_error"].value / plain["Fe_H_error"].value
    assert 0.9 < np.median(ratio) < 1.1


def test_length_may_be_a_quantity(emulator, flux):
    first, second = (
        make(emulator, error_length=length).measure(flux[:1])["Fe_H_error"]
        for length in (50.0, 0.05 * u.Mm / u.s)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("length", [0, -1.0, "long", [1.0, 2.0], np.nan])
def test_wrong_length_is_named(emulator, flux, length):
    with pytest.raises(ValueError, match="`error_length` must be None, a positive"):
        make(emulator, error_length=length).predict(flux[:1])


def test_what_takes_pixels_to_be_independent_refuses(emulator, flux):
    regressor = make(emulator, error_length="fit")
    for ask in (regressor.limits, regressor.posterior):
        with pytest.raises(ValueError, match=r"`error_length` .* must be None for"):
            ask(flux[:1])
    with pytest.raises(ValueError, match=r"None with `estimate` 'mean'"):
        make(emulator, error_length="fit", estimate="mean").predict(flux[:1])
