"""Tests of posteriors by importance sampling, and of Gaussians within boxes."""

import numpy as np
import pytest
import regressors
import torch
from scipy.stats import kstest, multivariate_normal, truncnorm
from sklearn.exceptions import ConvergenceWarning

from sk_payne import Observation
from sk_payne.abundances._importance import Samples, sample_by_importance
from sk_payne.abundances._truncated import fit_box_gaussian, sample_box_gaussian
from sk_payne.recovery import mock_recovery, recovery_table

TILTED = [[4.0, 3.0], [3.0, 5.0]]


def box(n, k):
    ones = torch.ones(n, k, dtype=torch.float64)
    return -ones, ones


def uniform(seed=0):
    """Give random numbers of one star."""
    rng = np.random.default_rng(seed)
    return lambda *shape: torch.from_numpy(rng.random((1, *shape)))


def moments_on_grid(log_density, n=1201):
    """Mean and covariance of a density of two parameters between -1 and 1."""
    x, y = np.meshgrid(*[(np.arange(n) + 0.5) / n * 2 - 1] * 2, indexing="ij")
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    log = log_density(points)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    mean = weight @ points
    return mean, (weight[:, None] * (points - mean)).T @ (points - mean)


def gaussian(normal, mean):
    normal = torch.tensor(normal, dtype=torch.float64)[None]
    return normal, (normal @ torch.tensor(mean, dtype=torch.float64)[None, :, None])[
        ..., 0
    ]


# Gaussians within boxes


@pytest.mark.parametrize("mean", [0.0, 0.9, 3.0, -40.0])
@pytest.mark.parametrize("sigma", [0.01, 0.5, 30.0])
def test_moments_of_one_parameter_are_those_of_scipy(mean, sigma):
    normal, slope = gaussian([[sigma**-2]], [mean])
    found = fit_box_gaussian(normal, slope, *box(1, 1))
    expected = truncnorm((-1 - mean) / sigma, (1 - mean) / sigma, mean, sigma)
    middle, spread = expected.mean(), expected.std()
    if abs(mean) - 1 > 100 * sigma:
        # scipy loses what is left of such a tail, which is exponential
        spread = sigma**2 / (abs(mean) - 1)
        middle = np.sign(mean) * (1 - spread)
    assert abs(found.mean.item() - middle) < 1e-3 * spread
    assert abs(np.sqrt(found.variance.item()) / spread - 1) < 0.01


@pytest.mark.parametrize("mean", [[0.0, 0.0], [1.5, -0.2], [2.0, 2.0]])
def test_moments_of_two_parameters_are_those_of_a_sum_over_a_grid(mean):
    normal, slope = gaussian(TILTED, mean)
    found = fit_box_gaussian(normal, slope, *box(1, 2))
    law = multivariate_normal(mean, np.linalg.inv(TILTED))
    expected, covariance = moments_on_grid(law.logpdf)
    error = np.sqrt(np.diag(covariance))
    # expectation propagation is not exact
    assert (np.abs(found.mean[0].numpy() - expected) < 0.05 * error).all()
    np.testing.assert_allclose(found.variance[0].sqrt().numpy(), error, rtol=0.05)


@pytest.mark.parametrize("mean", [[0.0, 0.0], [1.5, -0.2], [2.0, 2.0]])
def test_samples_within_a_box_have_the_moments_of_a_sum_over_a_grid(mean):
    problem = *gaussian(TILTED, mean), *box(1, 2)
    found = fit_box_gaussian(*problem)
    samples = sample_box_gaussian(*problem, found, uniform(), 20_000, 8)[0].numpy()
    law = multivariate_normal(mean, np.linalg.inv(TILTED))
    expected, covariance = moments_on_grid(law.logpdf)
    error = np.sqrt(np.diag(covariance))
    off = 5 / np.sqrt(20_000)
    np.testing.assert_allclose((samples.mean(0) - expected) / error, 0, atol=off)
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=2 * off * error[0])
    assert (np.abs(samples) <= 1).all()


@pytest.mark.parametrize("mean", [0.3, 3.0, -8.0])
def test_samples_of_one_parameter_follow_its_law(mean):
    sigma = 0.5
    problem = *gaussian([[sigma**-2]], [mean]), *box(1, 1)
    found = fit_box_gaussian(*problem)
    samples = sample_box_gaussian(*problem, found, uniform(1), 5000, 2)[0, :, 0]
    law = truncnorm((-1 - mean) / sigma, (1 - mean) / sigma, mean, sigma)
    assert kstest(samples.numpy(), law.cdf).pvalue > 1e-4


# Importance sampling


class Bent:
    """Flux that is not linear: bent lines, with blends."""

    def __init__(self, n_parameters, n_pixels=40, bend=1.0, seed=0):
        rng = np.random.default_rng(seed)
        lines = rng.standard_normal((n_parameters, n_pixels))
        lines = lines + 0.7 * np.roll(lines, 1, axis=0)
        self.lines = torch.from_numpy(lines)
        self.bend = bend

    def flux(self, rows, parameters):
        return torch.expm1(self.bend * parameters) / self.bend @ self.lines

    def linearize(self, rows, parameters):
        slope = torch.exp(self.bend * parameters)
        return self.flux(rows, parameters), slope[:, :, None] * self.lines


def sample(model, true, sigma, *, seed=10, prior=None, limits=None, n=192):
    noise = np.random.default_rng(seed).standard_normal((len(true), 40))
    flux = model.flux(None, true) + sigma * torch.from_numpy(noise)
    low, high = box(*true.shape) if limits is None else limits
    if prior is None:
        prior = torch.zeros_like(true), torch.zeros_like(true)
    found = sample_by_importance(
        model,
        flux,
        torch.full_like(flux, sigma**-2),
        true,
        low,
        high,
        prior,
        n=n,
        seeds=list(range(len(true))),
    )
    return flux, found


@pytest.mark.parametrize("sigma", [0.3, 3.0, 10.0])
def test_posterior_of_a_bent_model_is_that_of_a_sum_over_a_grid(sigma):
    model = Bent(2, bend=1.5)
    true = torch.tensor([[-0.6, 0.3]], dtype=torch.float64)
    flux, found = sample(model, true, sigma, n=1500)

    def log_density(points):
        left = flux - model.flux(None, torch.from_numpy(points))
        return -(left**2).sum(1).numpy() / sigma**2 / 2

    expected, covariance = moments_on_grid(log_density)
    error = np.sqrt(np.diag(covariance))
    n = found.n_effective.item()
    assert n > 250
    off = (found.mean[0].numpy() - expected) / error
    np.testing.assert_allclose(off, 0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(
        np.sqrt(np.diag(found.covariance[0])) / error, 1, atol=5 / np.sqrt(2 * n)
    )


def test_truth_is_within_the_intervals_as_often_as_they_say():
    """Of 300 stars, uniform in the box: strong, weak and invisible lines."""
    model = Bent(4)
    model.lines *= torch.tensor([1.0, 0.3, 0.1, 0.01])[:, None]
    unit = np.random.default_rng(1).uniform(-1, 1, (300, 4))
    true = torch.from_numpy(unit)
    _, found = sample(model, true, 0.7)
    low, high = found.quantile(0.1587), found.quantile(0.8413)
    inside = ((low < true) & (true < high)).double().mean(0).numpy()
    np.testing.assert_allclose(inside, 0.6826, atol=4 * np.sqrt(0.22 / 300))
    error = torch.diagonal(found.covariance, dim1=1, dim2=2).sqrt()
    pull = ((found.mean - true) / error).square().mean(0).sqrt().numpy()
    np.testing.assert_allclose(pull, 1, atol=4 / np.sqrt(2 * 300))
    # of which the last says nothing
    assert abs(error[:, 3].median().item() - 1 / np.sqrt(3)) < 0.03


def test_prior_and_fixed_value_are_kept():
    model = Bent(3, bend=0.01)
    model.lines[1] = 0
    true = torch.tensor([[0.2, 0.0, -0.4]], dtype=torch.float64)
    low, high = box(1, 3)
    low[0, 2] = high[0, 2] = -0.4
    prior = torch.tensor([[0.0, 0.1, 0.0]]), torch.tensor([[0.0, 0.05**-2, 0.0]])
    prior = [part.double() for part in prior]
    _, found = sample(model, true, 1.0, prior=prior, limits=(low, high), n=2000)
    assert (found.samples[..., 2] == -0.4).all()
    np.testing.assert_allclose(found.mean[0, 1], 0.1, atol=0.005)
    np.testing.assert_allclose(found.covariance[0, 1, 1].sqrt(), 0.05, rtol=0.08)
    assert found.covariance[0, 2].abs().max() < 1e-20


def test_weighted_quantiles_are_those_of_repeated_samples():
    values = torch.tensor([[[3.0], [1.0], [2.0]]])
    weight = torch.tensor([[0.25, 0.25, 0.5]])
    found = Samples(values, weight)
    assert found.quantile(0.125).item() == 1.0
    assert found.quantile(0.5).item() == 2.0
    assert found.quantile(0.9).item() == 3.0
    assert found.n_effective.item() == pytest.approx(1 / 0.375)
    drawn = found.draw(4, 0.5)[0, :, 0].sort().values
    assert drawn.tolist() == [1.0, 2.0, 2.0, 3.0]


# AbundanceRegressor


@pytest.fixture(scope="module")
def make_regressor(emulator):
    """Give a function that makes regressors of stars at rest that give means."""

    def make(snr=100.0, **options):
        options = {"velocity_range": None, "estimate": "mean"} | options
        return regressors.make_regressor(
            emulator, Observation(emulator_error=False), snr=snr, **options
        )

    return make


@pytest.fixture(scope="module")
def noisy(emulator):
    """Give a function that makes noisy flux of labels."""

    def make(labels, snr=100.0, seed=0):
        flux = emulator.predict(labels)
        return flux + np.random.default_rng(seed).normal(size=flux.shape) / snr

    return make


def test_means_of_well_measured_labels_are_the_best_fit(
    make_regressor, noisy, draw_labels
):
    flux = noisy(draw_labels(5), snr=1000.0)
    best, error = make_regressor(1000.0, estimate="mode").predict(flux, return_std=True)
    mean, std = make_regressor(1000.0).predict(flux, return_std=True)
    assert (np.abs(mean - best) < 0.4 * error).all()
    np.testing.assert_allclose(std / error, 1, atol=0.3)


def test_mean_of_a_label_that_hardly_shows_is_that_of_emcee(
    make_regressor, noisy, draw_labels
):
    flux = noisy(draw_labels(1, seed=4), snr=6.0)
    regressor = make_regressor(6.0)
    chain = regressor.posterior(flux, n_steps=4000, n_draws=4000, random_state=0)
    quick = regressor.posterior(
        flux, sampler="importance", n_draws=2000, random_state=0
    )
    assert quick.n_effective[0] > 500
    n = 1 / (1 / chain.n_effective[0] + 1 / quick.n_effective[0])
    expected, error = chain.samples[0].mean(0), chain.samples[0].std(0)
    off = (quick.samples[0].mean(0) - expected) / error
    np.testing.assert_allclose(off, 0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(
        quick.samples[0].std(0) / error, 1, atol=5 / np.sqrt(2 * n)
    )
    assert quick.label_names == chain.label_names
    assert quick.samples.shape == (1, 2000, 3)
    assert np.isnan(quick.acceptance).all()


def test_mean_of_a_star_does_not_depend_on_the_others(
    make_regressor, noisy, draw_labels
):
    """But for rounding, which may turn the lot of single samples."""
    flux = noisy(draw_labels(7), snr=30.0)
    flux[2] = np.nan
    regressor = make_regressor(30.0)
    with pytest.warns(ConvergenceWarning, match="rows 2"):
        together, std = regressor.predict(flux, return_std=True)
    alone = regressor.predict(flux[5:6])
    assert (np.abs(alone[0] - together[5]) < 0.2 * std[5]).all()
    np.testing.assert_array_equal(regressor.predict(flux[5:6]), alone)
    assert np.isnan(together[2]).all()


def test_table_of_means_has_intervals_with_units(make_regressor, noisy, draw_labels):
    table = make_regressor().measure(noisy(draw_labels(3)))
    assert table["teff_p16"].unit == "K"
    assert (table["teff_p16"] < table["teff"]).all()
    assert (table["teff_p84"] > table["teff"]).all()
    assert (table["n_effective"] > 50).all()
    best = make_regressor(estimate="mode").measure(noisy(draw_labels(3)))
    np.testing.assert_array_equal(table["chi2"], best["chi2"])
    assert "n_effective" not in best.colnames


def test_mean_and_interval_keep_velocity_rotation_and_continuum(
    emulator, draw_labels, observe
):
    star = observe(draw_labels(1)[0], velocity=33.0)
    options = {"vsini": (0.0, 30.0), "continuum_degree": 1, "emulator_error": False}
    table = regressors.make_regressor(emulator, estimate="mean", **options).measure(
        star
    )
    best = regressors.make_regressor(emulator, **options).measure(star)
    error = best["radial_velocity_error"]
    assert abs(table["radial_velocity"] - best["radial_velocity"])[0] < 0.4 * error[0]
    # a width of zero is at its bound, a mean is not
    assert 0 < table["vsini_p16"][0].value < table["vsini_p84"][0].value


def test_recovery_of_means_counts_their_intervals(make_regressor):
    recovery = mock_recovery(make_regressor(None), snr=20, n_stars=60, random_state=0)
    assert recovery.interval.shape == (1, 60, 3, 2)
    low, high = np.moveaxis(recovery.interval[0], -1, 0)
    inside = ((low <= recovery.true) & (recovery.true <= high)).mean(axis=0)
    table = recovery_table(recovery)
    np.testing.assert_allclose(table["coverage_68"], inside)
    assert (np.abs(inside - 0.68) < 0.25).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda regressor, flux: regressor.set_params(estimate="median").predict(
                flux
            ),
            "`estimate` must be 'mode', 'mean' or 'profile'; got 'median'",
        ),
        (
            lambda regressor, flux: regressor.posterior(flux, sampler="nuts"),
            "`sampler` must be 'emcee' or 'importance'; got 'nuts'",
        ),
    ],
)
def test_wrong_words_are_named(make_regressor, noisy, draw_labels, call, message):
    with pytest.raises(ValueError, match=message):
        call(make_regressor(), noisy(draw_labels(1)))
