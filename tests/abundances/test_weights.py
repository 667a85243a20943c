"""Tests of outliers that are clipped, and of errors that have a floor."""

import numpy as np
import pytest
import torch
from astropy.nddata import StdDevUncertainty
from regressors import make_regressor
from scipy.stats import chi2

from sk_payne.abundances import FLAGS
from sk_payne.abundances._reweighting import reweigh
from sk_payne.spectra import as_spectra

N_STARS = 150
# Pixels that no velocity moves out of the range of the emulator.
INNER = slice(20, 237)


@pytest.fixture(scope="module")
def truth(draw_labels):
    return draw_labels(N_STARS, seed=3)


@pytest.fixture(scope="module")
def clean(emulator, truth):
    """Flux with noise of S/N 100; don't write into it."""
    noise = np.random.default_rng(0).normal(size=(N_STARS, 257))
    flux = emulator.predict(truth) + noise / 100
    flux.flags.writeable = False
    return flux


@pytest.fixture(scope="module")
def hit(clean):
    """The same with four cosmic rays a star, off the ends, and where they are."""
    rng = np.random.default_rng(1)
    rays = np.zeros(clean.shape, dtype=bool)
    for row in rays:
        row[INNER][rng.choice(217, 4, replace=False)] = True
    return clean + rays * rng.uniform(0.2, 3, clean.shape), rays


def make(emulator, **options):
    options = {"snr": 100, "emulator_error": False, "velocity_range": (-50, 50)} | (
        options
    )
    return make_regressor(emulator, **options)


def spread_of_pulls(table, emulator, truth):
    pulls = [
        (table[name].value - true) / table[f"{name}_error"].value
        for name, true in zip(emulator.label_names_, truth.T, strict=True)
    ]
    return np.std(pulls, axis=1)


def test_cosmic_rays_are_clipped_and_pulls_stay_right(emulator, clean, hit, truth):
    flux, rays = hit
    table, model = make(emulator, clip=5).measure(flux, return_model=True)
    # of 150 stars: four standard errors of a deviation
    assert np.abs(spread_of_pulls(table, emulator, truth) - 1).max() < 4 / 300**0.5
    assert np.mean(table["chi2"] / table["dof"]) == pytest.approx(1, abs=0.03)
    assert np.isnan(model[rays & (np.abs(flux - clean) > 0.3)]).all()
    clipped = np.isnan(model[:, INNER])
    assert (clipped & ~rays[:, INNER]).sum() < 5
    np.testing.assert_array_equal(clipped.sum(axis=1), table["n_clipped"])
    np.testing.assert_array_equal(np.isfinite(model).sum(axis=1), table["n_pixels"])
    unclipped = make(emulator).measure(flux[:9])
    assert spread_of_pulls(unclipped, emulator, truth[:9]).min() > 3
    assert not unclipped["n_clipped"].any()


def test_clipping_what_is_clean_changes_nothing(emulator, clean):
    table = make(emulator, clip=5).measure(clean[:20])
    assert not table["n_clipped"].any()
    expected = make(emulator).measure(clean[:20])
    for name in ("teff", "teff_error", "chi2", "n_iterations"):
        np.testing.assert_array_equal(table[name], expected[name])


def test_errors_that_are_too_small_clip_no_more(emulator, clean):
    table = make(emulator, snr=500, clip=5).measure(clean[:50])
    assert table["n_clipped"].mean() < 0.1


@pytest.mark.parametrize("clip", [None, 5])
def test_floor_that_is_fitted_makes_pulls_right(emulator, clean, hit, truth, clip):
    flux = clean if clip is None else hit[0]
    table = make(emulator, snr=300, error_floor="fit", clip=clip).measure(flux)
    # what is missing between the errors claimed and the noise
    floor = np.sqrt(1e-4 - 1 / 300**2)
    # four outliers in 257 pixels move the median by 4 %
    assert np.median(table["error_floor"]) == pytest.approx(floor, rel=0.07)
    assert np.abs(spread_of_pulls(table, emulator, truth) - 1).max() < 0.3
    if clip:
        assert np.median(table["chi2"] / table["dof"]) == pytest.approx(1, abs=0.05)
    assert not (table["flags"] & FLAGS["NOT_CONVERGED"][0]).any()


def test_floor_is_nothing_where_errors_suffice(emulator, clean):
    table = make(emulator, snr=50, error_floor="fit").measure(clean[:20])
    assert (table["error_floor"] == 0).all()
    expected = make(emulator, snr=50).measure(clean[:20])
    np.testing.assert_array_equal(table["teff"], expected["teff"])


def test_floor_of_a_star_without_free_parameters_is_that_of_its_residuals(
    emulator, clean, truth
):
    known = dict(zip(emulator.label_names_, truth[:5].T, strict=True))
    fixed = known | {"radial_velocity": 0.0}
    regressor = make(emulator, snr=300, error_floor="fit", fixed=fixed)
    table, model = regressor.measure(clean[:5], return_model=True)
    assert (table["dof"] == table["n_pixels"]).all()
    for row in range(5):
        used = np.isfinite(model[row])
        squares = (clean[row] - model[row])[used] ** 2
        median = np.quantile(squares, 0.5, method="lower")
        expected = median / chi2.ppf(0.5, 1) - 1 / 300**2
        assert table["error_floor"][row] ** 2 == pytest.approx(expected, rel=1e-4)


def test_floor_that_is_given_adds_in_quadrature(emulator, clean):
    table = make(emulator, snr=200, error_floor=0.01).measure(clean[:5])
    expected = make(emulator, snr=1 / np.hypot(0.005, 0.01)).measure(clean[:5])
    np.testing.assert_allclose(table["teff_error"], expected["teff_error"], rtol=1e-9)
    np.testing.assert_array_equal(table["error_floor"], 0.01)


def test_floor_is_in_units_of_the_continuum(emulator, observe, draw_labels):
    star = observe(draw_labels(1)[0], snr=100)
    bright = 1000 * star
    bright.meta.update(star.meta)
    bright.uncertainty = StdDevUncertainty(star.uncertainty.array * 1000)
    options = {"continuum_degree": 1, "error_floor": "fit", "snr": None}
    tables = [make(emulator, **options).measure(s) for s in (star, bright)]
    for name in ("teff", "teff_error", "error_floor"):
        np.testing.assert_allclose(tables[0][name], tables[1][name], rtol=1e-5)


@pytest.mark.parametrize("options", [{"clip": 4}, {"clip": 4, "error_floor": "fit"}])
def test_star_is_the_same_in_any_batch(emulator, hit, options):
    regressor = make(emulator, snr=200, **options)
    together = regressor.measure(hit[0][:9])
    for i in (0, 4, 8):
        alone = regressor.measure(hit[0][[i]])
        for name in ("teff", "teff_error", "chi2", "n_clipped", "error_floor"):
            np.testing.assert_allclose(
                alone[name][0], together[name][i], rtol=1e-6, atol=0
            )


def test_limits_clip_as_well(emulator, hit, truth):
    flux = hit[0][:4]
    regressor = make(emulator, clip=5)
    _, model = regressor.measure(flux, return_model=True)
    mask = np.isnan(model)
    mask[:, : INNER.start] = mask[:, INNER.stop :] = False
    limits = regressor.limits(flux, ["teff"])
    expected = make(emulator).limits(flux, ["teff"], mask=mask)
    np.testing.assert_allclose(
        limits["teff_upper"].value, expected["teff_upper"].value, atol=0.1
    )


def test_flux_and_errors_of_the_caller_are_left_alone(emulator, hit):
    spectra = as_spectra(hit[0][:3], snr=100)
    flux, ivar = spectra.flux.copy(), spectra.ivar.copy()
    make(emulator, clip=5, error_floor="fit").measure(spectra)
    np.testing.assert_array_equal(spectra.flux, flux)
    np.testing.assert_array_equal(spectra.ivar, ivar)


def test_weights_are_a_fixed_point_of_noise_and_ignore_bad_pixels():
    rng = np.random.default_rng(4)
    error = rng.uniform(0.5, 2, (3, 2001))
    continuum = np.full_like(error, 2.0)
    residual = rng.normal(size=error.shape) * np.hypot(error, 3.0 * continuum)
    ivar = 1 / error**2
    ivar[:, ::5] = 0
    residual[:, ::5] = np.nan
    new, floor = (
        part.numpy()
        for part in reweigh(
            *map(torch.from_numpy, (residual, ivar, continuum, np.full(3, 10))),
            clip=None,
            fit_floor=True,
        )
    )
    np.testing.assert_allclose(floor, 3.0, rtol=0.1)
    expected = 1 / np.hypot(error, floor[:, None] * continuum) ** 2
    np.testing.assert_allclose(new, np.where(ivar > 0, expected, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 0}, "`clip` must be None or a positive number .* got 0"),
        ({"clip": "hard"}, "`clip` must be None or .* got 'hard'"),
        ({"clip": [3, 4]}, r"`clip` must be None or .* got \[3, 4\]"),
        ({"error_floor": -0.1}, "`error_floor` must be .* got -0.1"),
        ({"error_floor": "free"}, "`error_floor` must be .* got 'free'"),
        ({"error_floor": None}, "`error_floor` must be .* got None"),
    ],
)
def test_wrong_weights_are_named(emulator, clean, options, message):
    with pytest.raises(ValueError, match=message):
        make(emulator, **options).predict(clean)
