"""Tests of limits and samples: what is said where Gaussian errors are not enough."""

import sys

import numpy as np
import pytest
import regressors
from scipy.stats import binom, multivariate_normal, norm

from sk_payne import AbundanceRegressor, Observation
from sk_payne.spectra import SpectrumSet, doppler_factor

NAMES = ("teff", "Fe_H", "Mg_H")


@pytest.fixture(scope="module")
def make_regressor(emulator):
    """Give a function that makes regressors of stars at rest."""

    def make(**options):
        options = {"velocity_range": None, "snr": 100.0} | options
        return regressors.make_regressor(
            emulator, Observation(emulator_error=False), **options
        )

    return make


@pytest.fixture(scope="module")
def noisy(emulator):
    """Give a function that makes noisy flux of labels."""

    def make(labels, snr=100.0, seed=0):
        flux = emulator.predict(labels)
        noise = np.random.default_rng(seed).normal(size=flux.shape)
        return flux + noise / snr

    return make


# Limits


@pytest.mark.parametrize("side", ["upper", "lower"])
@pytest.mark.parametrize("confidence", [0.84, 0.95, 0.999])
def test_limits_of_well_measured_labels_are_gaussian(
    make_regressor, noisy, draw_labels, side, confidence
):
    flux = noisy(draw_labels(4), snr=1000.0)
    regressor = make_regressor(snr=1000.0)
    found, error = regressor.predict(flux, return_std=True)
    table = regressor.limits(flux, side=side, confidence=confidence)
    sign = 1 if side == "upper" else -1
    for i, name in enumerate(NAMES):
        limit = table[f"{name}_{side}"].value
        z = sign * (limit - found[:, i]) / error[:, i]
        # chi2 is a parabola but for the curvature of the model over a few sigma
        np.testing.assert_allclose(z, norm.ppf(confidence), rtol=0.03, atol=0.02)


def test_limit_is_where_chi2_has_risen_with_the_label_fixed(
    make_regressor, noisy, draw_labels
):
    flux = noisy(draw_labels(3, seed=3), snr=20.0)
    regressor = make_regressor(snr=20.0)
    limit = regressor.limits(flux, ["Mg_H"])["Mg_H_upper"].value
    best = regressor.measure(flux)["chi2"]
    there = make_regressor(snr=20.0, fixed={"Mg_H": limit}).measure(flux)["chi2"]
    np.testing.assert_allclose(np.sqrt(there - best), norm.ppf(0.95), atol=0.011)


def test_upper_limits_hold_as_often_as_they_say(make_regressor, noisy, emulator):
    """Of magnesium that is hardly there, in 400 noisy spectra."""
    low, high = emulator.label_low_, emulator.label_high_
    labels = np.tile((low + high) / 2, (400, 1))
    labels[:, 2] = low[2] + 0.25 * (high[2] - low[2])
    flux = noisy(labels, snr=8.0, seed=5)
    regressor = make_regressor(snr=8.0)
    table = regressor.limits(flux, ["Mg_H"], confidence=0.9)
    holds = (table["Mg_H_upper"].value >= labels[:, 2]).sum()
    # within 4 standard deviations of the binomial; more if limits hold by the bound
    assert holds >= binom.ppf(3e-5, 400, 0.9)
    assert holds <= binom.ppf(1 - 3e-5, 400, 0.9)


def test_limit_beyond_the_box_is_infinite(make_regressor, noisy, draw_labels):
    flux = noisy(draw_labels(2), snr=1.0)
    regressor = make_regressor(snr=0.5)
    for side, sign in (("upper", 1), ("lower", -1)):
        table = regressor.limits(flux, ["Mg_H"], side=side)
        assert (table[f"Mg_H_{side}"].value == sign * np.inf).all()


def test_limits_allow_for_velocity_width_and_continuum(emulator, draw_labels):
    labels = draw_labels(3)
    velocity = np.array([-30.0, 0.0, 55.0])
    flux = 700 * emulator.predict(labels)
    flux += 7 * np.random.default_rng(0).normal(size=flux.shape)
    spectra = SpectrumSet(
        flux,
        np.full(flux.shape, 7.0**-2),
        wavelength=emulator.wavelength_ * doppler_factor(velocity)[:, None],
        medium="air",
    )
    regressor = AbundanceRegressor(
        emulator,
        Observation(
            emulator_error=False,
            vsini=(0.0, 30.0),
            continuum_degree=1,
            resolving_power="emulator",
        ),
    )
    table = regressor.limits(spectra, ["Fe_H", "vsini"])
    found = regressor.measure(spectra)
    z = (table["Fe_H_upper"] - found["Fe_H"]) / found["Fe_H_error"]
    np.testing.assert_allclose(z.value, 1.645, rtol=0.1)
    # stars that do not rotate have an upper limit of rotation
    assert (table["vsini_upper"].value > found["vsini"].value).all()
    assert (table["vsini_upper"].value < 15).all()
    assert table["vsini_upper"].unit == "km / s"


def test_star_without_data_has_no_limit(make_regressor, noisy, draw_labels):
    flux = noisy(draw_labels(3))
    flux[1] = np.nan
    limit = make_regressor().limits(flux, ["teff"])["teff_upper"].value
    assert np.isfinite(limit).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["Teff"]}, r"`labels` must be among .*'Teff'.*did you mean"),
        ({"labels": ["vsini"]}, r"`labels` must be among .*'vsini'"),
        ({"side": "both"}, "`side` must be 'upper' or 'lower'; got 'both'"),
        ({"confidence": 95}, "`confidence` must be at least 0.5 and below 1; got 95"),
        ({"confidence": 0.2}, "`confidence` must be at least 0.5 and below 1"),
    ],
)
def test_wrong_arguments_of_limits_are_named(
    make_regressor, noisy, draw_labels, options, message
):
    with pytest.raises(ValueError, match=f"(?is){message}"):
        make_regressor().limits(noisy(draw_labels(1)), **options)


# Intervals


def test_intervals_of_well_measured_labels_are_gaussian(
    make_regressor, noisy, draw_labels
):
    flux = noisy(draw_labels(4), snr=1000.0)
    table = make_regressor(snr=1000.0, estimate="profile").measure(flux)
    assert (table["profile_intervals"] == "").all()
    for name in NAMES:
        value, error = table[name].value, table[f"{name}_error"].value
        for end, sign in (("p16", -1), ("p84", 1)):
            expected = value + sign * error
            np.testing.assert_allclose(table[f"{name}_{end}"].value, expected)


def test_interval_of_a_label_at_its_bound_ends_where_chi2_has_risen_by_one(
    make_regressor, noisy, emulator
):
    low, high = emulator.label_low_, emulator.label_high_
    labels = np.tile((low + high) / 2, (20, 1))
    labels[:, 2] = low[2]
    flux = noisy(labels, snr=20.0, seed=1)
    table = make_regressor(snr=20.0, estimate="profile").measure(flux)
    at_bound = table["Mg_H"].value == low[2]
    assert at_bound.any()
    named = table["profile_intervals"][at_bound]
    assert all("Mg_H" in names.split() for names in named)
    assert (table["Mg_H_p16"].value[at_bound] == low[2]).all()
    upper = table["Mg_H_p84"].value
    inside = at_bound & (upper < high[2])
    there = make_regressor(snr=20.0, fixed={"Mg_H": upper}).measure(flux)["chi2"]
    rise = np.sqrt(there - table["chi2"])
    np.testing.assert_allclose(rise[inside], 1.0, atol=0.035)


def test_intervals_hold_as_often_as_they_say(make_regressor, noisy, draw_labels):
    labels = draw_labels(150, seed=7)
    flux = noisy(labels, snr=8.0, seed=5)
    table = make_regressor(snr=8.0, estimate="profile").measure(flux)
    assert any("Mg_H" in names for names in table["profile_intervals"])
    for i, name in enumerate(NAMES):
        low, high = (table[f"{name}_{end}"].value for end in ("p16", "p84"))
        holds = ((low <= labels[:, i]) & (labels[:, i] <= high)).sum()
        assert binom.ppf(1e-3, 150, 0.683) <= holds <= binom.ppf(0.999, 150, 0.683)


def test_interval_of_a_known_label_is_its_value(make_regressor, noisy, draw_labels):
    flux = noisy(draw_labels(2))
    regressor = make_regressor(fixed={"teff": 5000.0}, estimate="profile")
    table = regressor.measure(flux)
    for column in ("teff", "teff_p16", "teff_p84"):
        assert (table[column].value == 5000.0).all()
    assert not any("teff" in names for names in table["profile_intervals"])


# Posterior


def test_posterior_is_that_of_importance_sampling(
    make_regressor, noisy, draw_labels, emulator
):
    """Against draws from a wide Gaussian, weighted by a likelihood of our own."""
    flux = noisy(draw_labels(1, seed=2), snr=300.0)
    regressor = make_regressor(snr=300.0)
    labels, covariance = regressor.predict(flux, return_cov=True)
    posterior = regressor.posterior(flux, n_steps=2000, n_draws=4000, random_state=0)
    rng = np.random.default_rng(0)
    wide = multivariate_normal(labels[0], 2 * covariance[0])
    draws = wide.rvs(20_000, random_state=rng)
    low, high = emulator.label_low_, emulator.label_high_
    draws = draws[((draws >= low) & (draws <= high)).all(axis=1)]
    chi2 = ((300 * (flux - emulator.predict(draws))) ** 2).sum(axis=1)
    weight = np.exp(-(chi2 - chi2.min()) / 2 - wide.logpdf(draws))
    weight /= weight.sum()
    mean = weight @ draws
    expected = (weight[:, None] * (draws - mean)).T @ (draws - mean)
    error = np.sqrt(np.diag(expected))
    samples = posterior.samples[0]
    # independent numbers of both
    n = 1 / (1 / posterior.n_effective[0] + (weight**2).sum())
    assert n > 1000
    off = (samples.mean(axis=0) - mean) / error
    np.testing.assert_allclose(off, 0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(samples.std(axis=0) / error, 1, atol=5 / np.sqrt(2 * n))
    np.testing.assert_allclose(
        np.corrcoef(samples.T), expected / np.outer(error, error), atol=5 / np.sqrt(n)
    )
    # which is about what the fit says
    fitted = np.sqrt(np.diag(covariance[0]))
    np.testing.assert_allclose(error / fitted, 1, atol=0.15)
    assert posterior.label_names == list(NAMES)
    assert posterior.label_units == ["K", "dex", "dex"]


def test_draws_tell_as_much_as_they_say(make_regressor, noisy, draw_labels):
    """Their mean scatters as that of independent ones, from seed to seed."""
    flux = noisy(draw_labels(1, seed=2), snr=300.0)
    regressor = make_regressor(snr=300.0)
    how = {"n_draws": 4000, "sampler": "importance", "random_state": 0}
    expected = regressor.posterior(flux, **how).samples[0]
    square = []
    for seed in range(5):
        found = regressor.posterior(flux, n_draws=4000, random_state=seed)
        off = (found.samples[0].mean(0) - expected.mean(0)) / expected.std(0)
        # of the chain, of the draws, and of what they are compared with
        variance = 1 / found.n_effective[0] + 1 / 4000 + 1 / 4000
        square.append(off**2 / variance)
    assert np.mean(square) < 3


def test_posterior_is_the_same_for_the_same_seed(make_regressor, noisy, draw_labels):
    flux = noisy(draw_labels(1))
    options = {"n_steps": 600, "n_draws": 11}
    first, second, other = (
        make_regressor().posterior(flux, **options, random_state=seed).samples
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_posterior_at_a_bound_stays_inside_and_agrees_with_the_limit(
    make_regressor, noisy, emulator
):
    low, high = emulator.label_low_, emulator.label_high_
    labels = ((low + high) / 2)[None].copy()
    labels[0, 2] = low[2]
    flux = noisy(labels, snr=10.0, seed=1)
    regressor = make_regressor(snr=10.0)
    samples = regressor.posterior(
        flux, n_steps=3000, n_draws=3000, random_state=0
    ).samples[0]
    assert (samples >= low).all()
    assert (samples <= high).all()
    limit = regressor.limits(flux, ["Mg_H"])["Mg_H_upper"].value[0]
    quantile = np.quantile(samples[:, 2], 0.95)
    # they answer different questions, alike up to the shape of the likelihood
    assert abs(limit - quantile) < 0.25 * (high - low)[2]
    assert quantile > low[2]


def test_posterior_keeps_priors_and_fixed_values(make_regressor, noisy, draw_labels):
    flux = noisy(draw_labels(1), snr=20.0)
    regressor = make_regressor(
        snr=20.0, fixed={"teff": 5000.0}, priors={"Fe_H": (0.1, 0.003)}
    )
    samples = regressor.posterior(
        flux, n_steps=1500, n_draws=1000, random_state=0
    ).samples[0]
    assert (samples[:, 0] == 5000.0).all()
    assert abs(samples[:, 1].mean() - 0.1) < 0.003
    assert samples[:, 1].std() < 0.0035


def test_posterior_has_the_velocity_and_is_profiled_over_the_continuum(
    emulator, draw_labels, observe
):
    star = observe(draw_labels(1)[0], velocity=33.0)
    regressor = AbundanceRegressor(
        emulator, Observation(emulator_error=False, continuum_degree=1)
    )
    table = regressor.measure(star)
    posterior = regressor.posterior(star, n_steps=1000, n_draws=1000, random_state=0)
    assert posterior.label_names == [*NAMES, "radial_velocity"]
    velocity = posterior.samples[0, :, 3]
    error = table["radial_velocity_error"].value[0]
    assert abs(velocity.mean() - table["radial_velocity"].value[0]) < 0.3 * error
    np.testing.assert_allclose(velocity.std(), error, rtol=0.25)


def test_short_chain_warns(make_regressor, noisy, draw_labels):
    with pytest.warns(UserWarning, match="chains of 1 of 1 stars are shorter than 25"):
        make_regressor().posterior(
            noisy(draw_labels(1)), n_steps=20, n_draws=5, random_state=0
        )


def test_star_without_data_has_no_samples(make_regressor, noisy, draw_labels):
    flux = noisy(draw_labels(2))
    flux[0] = np.nan
    posterior = make_regressor().posterior(flux, n_steps=800, n_draws=7, random_state=0)
    assert np.isnan(posterior.samples[0]).all()
    assert np.isfinite(posterior.samples[1]).all()
    assert np.isnan(posterior.n_effective[0])


def test_missing_emcee_is_told(make_regressor, noisy, draw_labels, monkeypatch):
    monkeypatch.setitem(sys.modules, "emcee", None)
    with pytest.raises(ImportError, match=r"pip install 'sk_payne\[posterior\]'"):
        make_regressor().posterior(noisy(draw_labels(1)))


@pytest.mark.parametrize(("name", "value"), [("n_steps", 1), ("n_draws", 2.5)])
def test_wrong_numbers_of_steps_are_named(
    make_regressor, noisy, draw_labels, name, value
):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer of at least 2"):
        make_regressor().posterior(noisy(draw_labels(1)), **{name: value})
