"""Tests of the joint test of given labels: how much worse they fit a spectrum."""

import analytic
import numpy as np
import pytest
import regressors
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances._search import fit_again
from sk_payne.recovery import joint_distance, joint_probability
from sk_payne.spectra import C_KMS

SNR, RARE = 100.0, 1e-3


def fitted_polynomial(degree, flux_of):
    """Fit a polynomial emulator of two labels between -1 and 1."""
    labels = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    model = make_pipeline(PolynomialFeatures(degree), LinearRegression())
    return model.fit(labels, flux_of(labels))


def linear_flux(labels):
    """Flux of 40 pixels that depends on both labels linearly."""
    design = np.random.default_rng(1).normal(size=(2, 40))
    return 1 + 0.03 * labels @ design


def bent_flux(labels):
    """Flux of 40 pixels: a parabola of both labels is well known, the first is not."""
    x, y = labels.T
    known = 1 + 0.3 * (y + x**2)[:, None] * np.ones(30)
    return np.hstack([known, 1 + 0.01 * x[:, None] * np.ones(10)])


def stars_of(model, n, extent=0.3, seed=2):
    """Draw labels and noisy flux of an emulator."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(-extent, extent, (n, 2))
    flux = model.predict(labels)
    return labels, flux + rng.standard_normal(flux.shape) / SNR


def regressor_of(model):
    return AbundanceRegressor(model, snr=SNR, bounds=[(-2.0, 2.0)] * 2)


def test_rise_is_the_squared_mahalanobis_distance_if_the_model_is_linear():
    model = fitted_polynomial(1, linear_flux)
    labels, flux = stars_of(model, 20)
    regressor = regressor_of(model)
    table = regressor.likelihood_ratio(flux, labels)
    found, covariance = regressor.predict(flux, return_cov=True)
    distance, _ = joint_distance(labels, found, covariance)
    np.testing.assert_allclose(table["delta_chi2"], distance, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        table["probability"], stats.chi2.cdf(table["delta_chi2"], 2), rtol=1e-6
    )
    assert (table["n_free"] == 2).all()


def test_region_of_the_rise_holds_the_truth_where_an_ellipsoid_does_not():
    model = fitted_polynomial(2, bent_flux)
    labels, flux = stars_of(model, 300)
    regressor = regressor_of(model)
    level = regressor.likelihood_ratio(flux, labels)["probability"]
    assert stats.kstest(level, "uniform").pvalue > RARE
    found, covariance = regressor.predict(flux, return_cov=True)
    ellipsoid = joint_probability(*joint_distance(labels, found, covariance))
    assert stats.kstest(ellipsoid, "uniform").pvalue < RARE


def test_velocity_is_fitted_again(emulator, draw_labels, observe):
    labels = draw_labels(6)
    stars = [observe(row, velocity=30.0, seed=i) for i, row in enumerate(labels)]
    observation = Observation(emulator_error=False, velocity_range=(-100, 100))
    regressor = AbundanceRegressor(emulator, observation)
    table = regressor.likelihood_ratio(stars, labels)
    # the best velocity of given labels differs from the best velocity of the fit
    assert (table["delta_chi2"] > -1e-3).all()
    assert (table["delta_chi2"] < stats.chi2.ppf(0.9999, 3)).all()


def test_best_fit_itself_has_no_rise(emulator, draw_labels, observe):
    stars = [observe(row, seed=i) for i, row in enumerate(draw_labels(4))]
    options = {"emulator_error": False, "velocity_range": None}
    regressor = regressors.make_regressor(emulator, **options)
    table = regressor.likelihood_ratio(stars, regressor.predict(stars))
    np.testing.assert_allclose(table["delta_chi2"], 0.0, atol=1e-4)
    np.testing.assert_allclose(table["probability"], 0.0, atol=1e-3)


def test_error_of_the_emulator_lets_labels_differ_more(grid, emulator, draw_labels):
    """With its displacements, the rise is that of a distance in the full covariance."""
    labels = draw_labels(5)
    flux = emulator.predict(labels)
    flux = flux + np.random.default_rng(3).normal(size=flux.shape) / 1000
    rises = {}
    for with_error in (False, True):
        observation = Observation(emulator_error=with_error, velocity_range=None)
        regressor = AbundanceRegressor(emulator, observation, snr=1000.0)
        rises[with_error] = regressor.likelihood_ratio(flux, labels)["delta_chi2"]
    found, covariance = regressor.predict(flux, return_cov=True)
    distance, _ = joint_distance(labels, found, covariance)
    assert (rises[True] < rises[False]).all()
    np.testing.assert_allclose(rises[True], distance, rtol=0.05, atol=0.05)


def test_fixed_label_is_no_free_one(emulator, draw_labels, observe):
    labels = draw_labels(2)
    labels[:, 1] = -0.5
    stars = [observe(row, seed=i) for i, row in enumerate(labels)]
    regressor = AbundanceRegressor(emulator, fixed={"Fe_H": -0.5})
    table = regressor.likelihood_ratio(stars, labels)
    assert (table["n_free"] == len(analytic.LABEL_NAMES) - 1).all()


def test_star_without_data_has_no_rise(emulator, draw_labels):
    flux = emulator.predict(draw_labels(2))
    flux[1] = np.nan
    regressor = regressors.make_regressor(emulator, snr=SNR, velocity_range=None)
    table = regressor.likelihood_ratio(flux, draw_labels(2))
    assert np.isfinite(table["delta_chi2"][0])
    assert np.isnan(table["delta_chi2"][1])
    assert np.isnan(table["probability"][1])
    assert table["n_free"][1] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels[:1], "one row for each of the 2 stars"),
        (lambda labels: labels[:, :2], "`labels`"),
        (
            lambda labels: labels + np.array([0, 70, 0]),
            "within the bounds; got Fe_H = ",
        ),
        (lambda labels: labels * [1, np.nan, 1], "must be finite"),
    ],
)
def test_labels_that_cannot_be_tested_are_refused(
    emulator, draw_labels, change, message
):
    labels = draw_labels(2)
    regressor = regressors.make_regressor(emulator, snr=SNR, velocity_range=None)
    with pytest.raises(ValueError, match=message):
        regressor.likelihood_ratio(emulator.predict(labels), change(labels))


def test_labels_are_found_by_the_names_of_a_table(emulator, draw_labels):
    from astropy.table import Table

    labels = draw_labels(3)
    flux = emulator.predict(labels)
    regressor = regressors.make_regressor(emulator, snr=SNR, velocity_range=None)
    plain = regressor.likelihood_ratio(flux, labels)
    named = Table(labels[:, ::-1], names=analytic.LABEL_NAMES[::-1])
    by_name = regressor.likelihood_ratio(flux, named)
    np.testing.assert_array_equal(plain["delta_chi2"], by_name["delta_chi2"])


def test_repeated_fits_use_the_pixels_of_the_first(
    emulator, draw_labels, observe, monkeypatch
):
    labels = draw_labels(12)
    # edges of pixels come to lie at the ends of the grid
    step = np.median(np.diff(np.log(emulator.wavelength_)))
    velocities = C_KMS * np.tanh(step * (np.arange(12) % 5 - 2))
    stars = [
        observe(star, velocity=v, seed=i, snr=10)
        for i, (star, v) in enumerate(zip(labels, velocities, strict=True))
    ]
    regressor = AbundanceRegressor(
        emulator, Observation(velocity_range=(-200, 200), resolving_power="emulator")
    )
    used = []

    def watched(observed):
        used.extend(observed.n_pixels)
        return fit_again(observed)

    target = "sk_payne.abundances._likelihood_ratio.fit_again"
    monkeypatch.setattr(target, watched)
    regressor.likelihood_ratio(stars, labels)
    assert used == regressor.measure(stars)["n_pixels"].tolist()


@pytest.mark.parametrize("velocity_range", [(-100, 100), None])
def test_largest_displacements_by_the_emulator_are_allowed(
    emulator, draw_labels, observe, velocity_range
):
    labels = draw_labels(20)
    stars = [observe(star, snr=3000, seed=i) for i, star in enumerate(labels)]
    regressor = AbundanceRegressor(
        emulator,
        Observation(velocity_range=velocity_range, resolving_power="emulator"),
    )
    found, covariance = regressor.predict(stars, return_cov=True)
    # along the direction of the largest error, where the model is nearly linear
    half_width = (emulator.label_high_ - emulator.label_low_) / 2
    scaled = covariance / half_width[:, None] / half_width
    value, vector = np.linalg.eigh(scaled)
    moved = found + half_width * np.sqrt(value[:, -1:]) * vector[:, :, -1]
    rise = regressor.likelihood_ratio(stars, moved)["delta_chi2"]
    np.testing.assert_allclose(np.median(rise), 1.0, atol=0.2)
